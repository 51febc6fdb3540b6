"""Methods compared on equal terms: the same student, mentors, data, schedule and seeds.

``plan`` reads what is to be compared, ``runs`` makes a training of each method and seed, ``jobs``
runs them, ``ledger`` keeps the results, and ``statistics`` and ``report`` make the tables.
"""
