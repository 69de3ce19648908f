"""The one table of stages: where an item stands, from 0 to 599, and the three error states beyond.

An item's row is the queue: its `stage` says which step comes next, its `due_at` when a worker may take it.
"""

from enum import IntEnum


class Stage(IntEnum):
    """A stage of an item's life, as stored in `items.stage`."""

    SYSTEM_INIT = 0
    CONTENT_DISCOVERED = 10
    BATCH_RECEIVED = 20
    QUEUE_PENDING = 50

    CONTENT_RECEIVED = 100
    CONTENT_QUEUED = 110
    FETCH_ATTEMPTING = 120
    FETCH_FAILED = 130
    FALLBACK_ATTEMPTING = 140
    CONTENT_RETRIEVED = 150
    CONTENT_ARCHIVED = 160
    ACQUISITION_COMPLETE = 190

    VALIDATION_STARTED = 200
    QUALITY_CHECK = 210
    AUTHENTICITY_VERIFY = 220
    COMPLETENESS_CHECK = 230
    FORMAT_VALIDATE = 240
    VALIDATION_PASSED = 250
    VALIDATION_FAILED = 280
    VALIDATION_COMPLETE = 299

    PROCESSING_STARTED = 300
    EXTRACTION_CLEAN = 310
    STRUCTURE_ANALYSIS = 320
    CONTENT_TRANSFORMED = 330
    METADATA_EXTRACTED = 340
    CONTENT_FORMATTED = 350
    PROCESSING_COMPLETE = 390

    ENHANCEMENT_STARTED = 400
    ANALYZED = 410
    SUMMARIZED = 420
    TOPICS = 430
    ENTITIES = 440
    SEMANTIC = 450
    ENHANCEMENT_COMPLETE = 490

    FINALISATION_STARTED = 500
    CROSS_REFERENCES = 510
    QUALITY_FINAL = 520
    METADATA_FINAL = 530
    CONTENT_INDEXED = 540
    COMPLETE = 590
    ARCHIVED_FINAL = 595
    DUPLICATE = 599

    RATE_LIMITED = 666
    PERMANENT_ERROR = 777
    SYSTEM_ERROR = 888


#: Nothing more happens to an item here by itself.
TERMINAL = frozenset({Stage.COMPLETE, Stage.ARCHIVED_FINAL, Stage.DUPLICATE, Stage.PERMANENT_ERROR})

#: The next step at these stages asks another machine for something.
FETCHING = frozenset({Stage.CONTENT_QUEUED, Stage.FETCH_FAILED, Stage.RATE_LIMITED, Stage.SYSTEM_ERROR})

#: A readable item.
DONE = frozenset({Stage.COMPLETE, Stage.ARCHIVED_FINAL})
