"""Sound and film that belong to an item: what `items.media` holds."""

from typing import TypedDict


class TranscriptLink(TypedDict, total=False):
    """Where a feed says a transcript is: its address, and what the feed says of it."""

    url: str
    type: str
    language: str
    #: "captions" when it follows the sound closely.
    rel: str


class Media(TypedDict, total=False):
    """Of an episode or a video. Only what is known is there; addresses are absolute and http(s)."""

    #: The file itself: one of the two, its type and its size in bytes.
    audio: str
    video: str
    type: str
    bytes: int
    #: In seconds.
    duration: float
    image: str
    #: A file of chapters (JSON).
    chapters: str
    transcripts: list[TranscriptLink]
    season: str
    episode: str
    #: Of a video on YouTube.
    video_id: str
