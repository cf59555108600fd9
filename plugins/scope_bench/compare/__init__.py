"""``scope compare``: many methods on the same images, as a table, a picture and JSON.

``command``  options, and the order of events
``methods``  which specs take part, and why others cannot
``measure``  what is measured
``report``   the result as data, with the schema of ``--json``
``tables``   the result as text
``figure``   the result as a picture
"""
