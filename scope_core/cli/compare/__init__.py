"""``scope compare``: many methods on the same photographs, as a table, a picture and JSON.

``command``   options, and the order of events
``entrants``  which specs take part, and why others cannot
``runs``      what is measured
``report``    the result as data, with the schema of ``--json``
``tables``    the result as text
``page``      the result as a picture
"""
