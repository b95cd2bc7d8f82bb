"""Export of a finished batch: timelines, a list for joining clips, contact sheets, datasets.

``selection`` chooses the files of a batch and their order, ``probe`` reads their properties; ``timeline``,
``concat`` and ``sheet_layout`` decide; ``otio_files``, ``sheet`` and ``dataset`` write. The packages of the
extra ``export`` (OpenTimelineIO, Pillow, PyAV) are optional and imported where they are used.
"""
