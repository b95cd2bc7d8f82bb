"""Input files: the upload of local pictures and clips, by which they get a public https URL.

The API fetches the media of a request itself and accepts no uploads. So a local file is uploaded to the
user's own object store, or by the user's own command, and nowhere else. Files are identified by their
content: equal ones are uploaded once over all runs, and a job refers to its input by the hash. The URLs are
signed, so they are
secrets: they are contained in what is sent and in the journal, and nowhere else.

    inspect -> upload, unless the store has it -> sign -> the URL in the bytes -> intent on disk -> POST
"""

from seedance_async.media.inspection import InputFile, Inspector, inspect
from seedance_async.media.kept_urls import KeptUrls
from seedance_async.media.object_store import ObjectStore
from seedance_async.media.publisher import NO_STORE, MediaStore, Publisher
from seedance_async.media.store_setting import read_media_store

__all__ = [
    "NO_STORE",
    "InputFile",
    "Inspector",
    "KeptUrls",
    "MediaStore",
    "ObjectStore",
    "Publisher",
    "inspect",
    "read_media_store",
]
