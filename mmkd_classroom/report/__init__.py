"""Report of a classroom: one HTML file that shows who taught what.

``run.py`` reads what a training wrote, ``samples.py`` runs the trained classroom on samples,
``members.py`` scores its members, ``charts.py`` and ``pictures.py`` draw, and ``page.py`` writes
the file.
"""
