"""The one table of stages: where an item stands, from 0 to 599, and the three error states beyond.

An item's row is the queue: its `stage` says which step comes next, its `due_at` when a worker may take it.
`docs/stages.md` is written from here.
"""

from enum import IntEnum


class Stage(IntEnum):
    """A stage of an item's life, as stored in `items.stage`, and what it means to the one who reads it."""

    meaning: str

    def __new__(cls, number: int, meaning: str = "") -> "Stage":
        """Make a row of the table."""
        stage = int.__new__(cls, number)
        stage._value_ = number
        stage.meaning = meaning
        return stage

    SYSTEM_INIT = 0, "Made by Atlas itself; nothing has been done with it."
    CONTENT_DISCOVERED = 10, "Found somewhere; not decided yet whether it is taken."
    BATCH_RECEIVED = 20, "Came with an import and waits until the queue has room."
    QUEUE_PENDING = 50, "About to be queued."

    CONTENT_RECEIVED = 100, "Its content came along with it."
    CONTENT_QUEUED = 110, "Waits to be fetched."
    FETCH_ATTEMPTING = 120, "Its site was asked."
    FETCH_FAILED = 130, "Its site did not give it; another way is looked for."
    FALLBACK_ATTEMPTING = 140, "Another way was tried: an archived copy, or the same article elsewhere."
    CONTENT_RETRIEVED = 150, "The same article was found elsewhere."
    CONTENT_ARCHIVED = 160, "An archived copy was found."
    ACQUISITION_COMPLETE = 190, "The original is kept and waits to be read."

    VALIDATION_STARTED = 200, "Being judged: is this what was asked for?"
    QUALITY_CHECK = 210, "Is there an article in it?"
    AUTHENTICITY_VERIFY = 220, "Is it the article, and not a login, a cookie banner or an error page?"
    COMPLETENESS_CHECK = 230, "Is it all there, and not a shell that scripts would fill?"
    FORMAT_VALIDATE = 240, "Is it of a kind that can be read?"
    VALIDATION_PASSED = 250, "Worth keeping."
    VALIDATION_FAILED = 280, "Not worth keeping."
    VALIDATION_COMPLETE = 299, "Judged worth keeping."

    PROCESSING_STARTED = 300, "Being read."
    EXTRACTION_CLEAN = 310, "The article was told from what surrounds it."
    STRUCTURE_ANALYSIS = 320, "Its parts were found; of episodes and films, the transcript."
    CONTENT_TRANSFORMED = 330, "Made safe and simple."
    METADATA_EXTRACTED = 340, "Title, author, date and language are known."
    CONTENT_FORMATTED = 350, "Ready to be shown."
    PROCESSING_COMPLETE = 390, "Title, text and pictures were taken out of it."

    ENHANCEMENT_STARTED = 400, "Being added to what it says itself."
    ANALYZED = 410, "Language and length are known."
    SUMMARIZED = 420, "Summarised, by the service its owner chose."
    TOPICS = 430, "Its keywords are known."
    ENTITIES = 440, "The names in it are known."
    SEMANTIC = 450, "What it has in common with other items is known."
    ENHANCEMENT_COMPLETE = 490, "All that was to be added is."

    FINALISATION_STARTED = 500, "The last checks."
    CROSS_REFERENCES = 510, "Compared with what is here: is it a copy?"
    QUALITY_FINAL = 520, "Its quality is settled."
    METADATA_FINAL = 530, "Its title, author and date are settled."
    CONTENT_INDEXED = 540, "Can be found."
    COMPLETE = 590, "Can be read and found."
    ARCHIVED_FINAL = 595, "Can be read and found; its text is that of an archived copy."
    DUPLICATE = 599, "Here already: it points at the item that was first, which was not changed."

    RATE_LIMITED = 666, "Its site asked to come back later; that costs no attempt."
    PERMANENT_ERROR = 777, "Failed for good: a dead letter, with the reason."
    SYSTEM_ERROR = 888, "Failed for now; it is tried again by itself."


#: The groups of stages, by the first number of each.
GROUPS: dict[int, str] = {
    0: "Discovery",
    100: "Acquisition",
    200: "Validation",
    300: "Processing",
    400: "Enhancement",
    500: "Finalisation",
    600: "Error states",
}

#: Nothing more happens to an item here by itself (but a dead letter is tried again daily for some days).
TERMINAL = frozenset({Stage.COMPLETE, Stage.ARCHIVED_FINAL, Stage.DUPLICATE, Stage.PERMANENT_ERROR})

#: The next step at these stages asks another machine for something.
FETCHING = frozenset(
    {
        Stage.CONTENT_QUEUED,
        Stage.FETCH_FAILED,
        Stage.FALLBACK_ATTEMPTING,
        Stage.RATE_LIMITED,
        Stage.SYSTEM_ERROR,
    }
)

#: A readable item.
DONE = frozenset({Stage.COMPLETE, Stage.ARCHIVED_FINAL})


def group(stage: int) -> str:
    """Return the name of a stage's group."""
    return GROUPS[min(stage // 100 * 100, max(GROUPS))]
