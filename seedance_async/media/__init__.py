"""Input files: where a local picture or clip becomes a public https URL.

The API fetches what a request refers to, and takes no uploads. So a local file goes to a place of the user's
own, an object store or a command of theirs, and nowhere else. Files are told apart by their content: equal
ones are uploaded once, over all runs, and a job knows its input by the hash. The URLs are signed, so they are
secrets: they stand in what is sent and in a journal, and nowhere else.

    inspect -> upload, unless the store has it -> sign -> the URL in the bytes -> intent on disk -> POST
"""

from seedance_async.media.inspection import InputFile, Inspector, inspect
from seedance_async.media.kept_urls import KeptUrls
from seedance_async.media.object_store import ObjectStore
from seedance_async.media.publisher import NO_STORE, MediaStore, Publisher
from seedance_async.media.settings import read_media_store

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
