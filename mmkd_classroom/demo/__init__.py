"""The demo's data: figures with COCO's 17 joints, rendered, so that nothing is downloaded.

``pose`` poses a skeleton, ``figure`` clothes it, ``scene`` takes its picture in some
``surroundings``, ``coco`` writes the data set.
"""
