"""The handing over of a finished batch: timelines, a list to join clips by, contact sheets, datasets.

``selection`` says which files of a batch are handed over and in which order, ``probe`` what the files are;
``timeline``, ``concat`` and ``sheet_layout`` decide; ``otio_files``, ``sheet`` and ``dataset`` write. What is
optional (OpenTimelineIO, Pillow, PyAV: the extra ``export``) is imported where it is used.
"""
