"""``scope compare``: several methods on the same images, as a table, a figure and JSON.

``command``  options, and the order of steps
``measure``  selections of all methods on all images
``report``   the result as data, with the schema of ``--json``
``tables``   the result as text
``figure``   the result as a figure
"""
