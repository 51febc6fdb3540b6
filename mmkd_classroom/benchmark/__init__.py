"""Methods compared on equal terms: the same student, mentors, data, schedule and seeds.

``plan`` reads what is to be compared, ``runs`` makes a training of each method and seed, ``jobs``
runs them, ``store`` keeps the results on disk, ``runner`` does what has no result yet, and
``report`` makes the tables and the plot.
"""
