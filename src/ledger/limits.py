"""Every bound on what comes from outside, with unit and reason. Rule: no number of this kind stands anywhere else."""

from __future__ import annotations

from typing import Final

# Canonical JSON (formats, section 1).
JSON_BYTES_MAX: Final = 60 * 1024  # a head, body or state document stays well inside a leaf and a rule call
JSON_DEPTH_MAX: Final = 16  # deeper documents serve attackers, not departments
INT_MAX: Final = 2**53 - 1  # every JSON implementation holds these exactly (RFC 7493)
IDENTIFIER_CHARS_MAX: Final = 128  # fits u16 length prefixes, index pages and screens

# Events and submissions (sections 2 and 3).
REFS_LIST_MAX: Final = 32  # values of one ref, unless the kind says 64
REFS_LIST_WIDE_MAX: Final = 64  # for kinds that declare a wide ref
REFS_NAMES_MAX: Final = 16  # names of refs in one head: bounds the streams a record joins
REFS_VALUES_MAX: Final = 128  # values of all refs of one head together, for the same reason
EVENT_KEYS_MAX: Final = 64  # state objects one event may touch: bounds the reads of a block
DATA_SUBJECTS_MAX: Final = 16  # more persons go under one Merkle root
COMMITMENTS_MAX: Final = 32  # commitments of one head
SALT_BYTES: Final = 16  # enough that a hash that outlives its body cannot be guessed
SUBMISSION_EVENTS_MAX: Final = 1_000  # one signature covers at most this many
SUBMISSION_FRAMED_BYTES_MAX: Final = 700_000  # CometBFT's RPC takes 1,000,000 bytes of base64 in JSON
SUBMISSION_EXPANDED_BYTES_MAX: Final = 8 * 1024 * 1024  # bounded decompression
ZSTD_WINDOW_BYTES_MAX: Final = 8 * 1024 * 1024  # what RFC 8878 asks every decoder to support
EVENT_PAST_MAX_MS: Final = 400 * 86_400_000  # older ids leave the duplicate index
EVENT_AHEAD_MAX_MS: Final = 10 * 60_000  # tolerated clock skew of a member

# Log (sections 4 to 6).
VERDICT_BYTES_MAX: Final = 64_000  # of a verdict with its extra streams; the rest of a leaf is below 1,500 bytes
LEAF_BYTES_MAX: Final = 65_535  # a tlog-tiles entry is length-prefixed by u16
TIMERS_BLOCK_MAX: Final = 1_000  # the rest goes into timer-only blocks
BLOCK_EVENTS_MAX: Final = 20_000  # bounds memory and latency of one transition
BLOCK_BYTES_MAX: Final = 32 * 1024 * 1024  # expanded inputs of one block
BLOCK_ENCODED_BYTES_MAX: Final = 128 * 1024 * 1024  # inputs, leaves and note of one block as exchanged
STATE_OBJECT_BYTES_MAX: Final = 4 * 1024  # no growing lists in state
BUCKET_KEYS_TARGET: Final = 16  # keys a bucket on average (section 6)
BUCKET_PLAIN_KEYS_MAX: Final = 64  # above it a bucket is hashed as a tree
NEW_STREAMS_MEMBER_DAY_MAX: Final = 100_000  # a member cannot swell the map

# Checkpoints and certificates (section 7).
NOTE_BYTES_MAX: Final = 64 * 1024  # text and signatures of one note
NOTE_SIGNATURES_MAX: Final = 100  # as golang.org/x/mod/sumdb/note
TLOG_PROOF_EXTRA_BYTES_MAX: Final = 32 * 1024  # Go's reader takes lines of 64 KiB; base64 grows by a third
COSIGNERS_MAX: Final = 32  # the notes stay small, the quorum arithmetic exact
VALIDATORS_MAX: Final = 64  # each signs every block: some dozens of departments, not a public chain
VALIDATORS_FLOOR: Final = 4  # fewer tolerate no fault at all
ENGINE_MOVES_MAX: Final = 99  # two digits behind a chain id, which has at most 50 characters
LOG_KEYS_MAX: Final = 256  # keys for ordering that one proof shows the registration of
EPOCHS_MAX: Final = 1_000  # changes of the cosigners that one proof leads through
NATIVE_BYTES_MAX: Final = 60 * 1024  # a header with the votes of that many validators, about 250 bytes each
HEARTBEAT_MS: Final = 60_000  # freshness on an idle ledger
CLOCK_AHEAD_MS: Final = 10_000  # cosigners withhold when block time is further ahead
CLOCK_BEHIND_MS: Final = 60_000  # and alarm when a live ledger is further behind
MAX_AGE_DEFAULT_MS: Final = 600_000  # default freshness a verifier demands
UNCERTIFIED_BLOCKS_MAX: Final = 1_000  # the sequencer answers 503 beyond this
SEQUENCER_QUEUE_EVENTS_MAX: Final = 60_000  # a few blocks of work; beyond it clients keep their spool
SEQUENCER_QUEUE_BYTES_MAX: Final = 128 * 1024 * 1024  # the same for large events

# Rules (rules, section 6).
RULE_STRING_BYTES_MAX: Final = 4 * 1024  # of one value inside a rule
RULE_COLLECTION_MAX: Final = 1_024  # items of one list or map inside a rule
RULE_STEPS_MAX: Final = 20_000  # step budget of one event or timer until a vote sets another: a verdict, not a time-out
RULE_STEPS_VOTE_MAX: Final = 10_000_000  # the largest a vote can set
TIMER_KEYS_MAX: Final = 8  # objects that a timer's handler may touch

# Bundles (section 10).
BUNDLE_BYTES_MAX: Final = 4 * 1024 * 1024  # a rulebook or calendar
BUNDLE_FILES_MAX: Final = 1_000
BUNDLES_WAITING_MAX: Final = 4  # held for proposals that are about to come; 16 MiB at most

EVIDENCE_FILES_MAX: Final = 500  # what other nodes signed that cannot be: some of it is enough

# CometBFT.
TRANSACTION_BYTES_MAX: Final = 1_000_000  # a transaction has to fit into a block of 1 MiB beside the commit
TRANSACTION_SUBMISSIONS_MAX: Final = 2_000  # of what waited at one node

# HTTP.
HTTP_BODY_BYTES_MAX: Final = 10 * 1024 * 1024  # one request body before decompression
HTTP_PAGE_DEFAULT: Final = 100
HTTP_PAGE_MAX: Final = 1_000
HTTP_WAIT_S_MAX: Final = 60  # long polls
HTTP_RATE_MIN: Final = 128 * 1024  # bytes a second (1 Mbit/s): what a long answer has to come at, beyond its time-out
PEER_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024  # one page of blocks from another node

# Proof files (section 9).
PROOF_BYTES_MAX: Final = 32 * 1024 * 1024  # one file is read whole; larger questions are what exports are for
PROOF_ENTRIES_MAX: Final = 50_000  # entries of one completeness proof
PROOF_PATH_MAX: Final = 64  # an inclusion path has at most one hash for each bit of an index
PROOF_RANGE_PATH_MAX: Final = 2 * 64  # left and right of a range
STREAM_NAME_CHARS_MAX: Final = 512  # kind or id of a stream, ids under a member's name included

# Export archives.
SEGMENT_TARGET_BYTES: Final = 4 * 1024 * 1024  # expanded; a segment is closed once it holds this much
SEGMENT_BYTES_MAX: Final = BLOCK_ENCODED_BYTES_MAX + 2 * SEGMENT_TARGET_BYTES  # one large block fits, expanded or not
ARCHIVE_FILES_MAX: Final = 2_000_000  # some hundred billion events; bounds the manifest
MANIFEST_BYTES_MAX: Final = 256 * 1024 * 1024

# ABCI, the socket between a node and its CometBFT.
ABCI_MESSAGE_BYTES_MAX: Final = (
    32 * 1024 * 1024
)  # blocks have 1 MiB, chunks of a snapshot 16 MB; CometBFT's own is 2^31-1
ABCI_CONNECTIONS_MAX: Final = 8  # CometBFT opens four; for a moment its predecessor's four may still be there
ABCI_WAITING_BYTES_MAX: Final = 4 * 1024 * 1024  # answers not yet read by CometBFT before we stop reading its requests

# Snapshots of the state, as nodes hand them to one that joins.
SNAPSHOT_CHUNK_BYTES_MAX: Final = 10_000_000  # CometBFT carries messages of 16 MB
SNAPSHOT_CHUNKS_MAX: Final = 100_000  # their hashes are the manifest: a state of one terabyte
SNAPSHOT_METADATA_BYTES_MAX: Final = 4_000_000 - 4_096  # what CometBFT takes, less the fields around it
SNAPSHOT_KEY_BYTES_MAX: Final = 2_048  # namespace and parts of the longest name
SNAPSHOT_VALUE_BYTES_MAX: Final = STATE_OBJECT_BYTES_MAX + 256  # an object with its blind; a stream is shorter
SNAPSHOTS_KEPT: Final = 2  # the newest, and the one that somebody may be reading
SNAPSHOTS_FETCHED_MAX: Final = 2  # older ones that stay while somebody fetches them
SNAPSHOTS_LISTED_MAX: Final = 10  # as CometBFT asks each peer
LIGHT_REQUEST_BYTES_MAX: Final = 4_096  # a question of a light client is a height and a page
