"""The demo: a classroom on rendered people, so that nothing is downloaded.

``run`` is the script of ``make demo``. For its data, ``pose`` makes a skeleton, ``figure`` adds a
body and clothes, ``scene`` renders it in front of its ``surroundings``, and ``coco`` writes the
data set. ``report`` draws the results.
"""
