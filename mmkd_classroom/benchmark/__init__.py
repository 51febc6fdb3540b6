"""Compare methods with the same student, mentors, data, schedule and seeds.

``plan`` reads the plan, ``runs`` defines a run for each method and seed, ``jobs`` runs tools,
``store`` keeps the results on disk, ``runner`` starts all runs without a result, and ``report``
makes the tables and the plot.
"""
