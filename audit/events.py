"""Every event the record can hold, one name each.

Rules:
- A name is `subject:action` or `subject:part:action`, lower case; it is stored, so it never changes and is never
  reused.
- The sentence beside the name is what an auditor reads.
- A retired event stays here, marked as retired, so that old rows keep their sentence.
"""

from __future__ import annotations

from django.db.models import TextChoices


class Event(TextChoices):
    """What happened. The value is stored, the label is shown."""

    CALL_REQUESTED = "call:requested", "A call to the provider is about to be made"
    CALL_ANSWERED = "call:answered", "A call to the provider has ended"
    CALL_REFUSED = "call:refused", "A call was refused before it was made"

    SIGNED_IN = "account:signed_in", "A person signed in"
    SIGN_IN_REFUSED = "account:sign_in_refused", "A sign-in was refused"
    ACCESS_ENDED = "account:access_ended", "Everything a person could do was ended at once"
    SECOND_FACTOR_ADDED = "account:factor:added", "A person set up a second factor"
    SECOND_FACTOR_USED = "account:factor:used", "A person gave their second factor"
    SECOND_FACTOR_REFUSED = "account:factor:refused", "A wrong code was given for a second factor"
    SECOND_FACTOR_REMOVED = "account:factor:removed", "A person took their own second factor off"
    SECOND_FACTOR_TAKEN_OFF = "account:factor:taken_off", "IT took a person's second factor off"
    RECOVERY_CODES_MADE = "account:factor:codes_made", "A person had new recovery codes made"
    SIGNED_OUT = "account:signed_out", "A person signed out"

    DOCUMENT_UPLOADED = "document:uploaded", "A document was uploaded"
    DOCUMENT_LIVE = "document:live", "A document can be asked about"
    DOCUMENT_FAILED = "document:failed", "A document could not be read"
    DOCUMENT_INFECTED = "document:infected", "The malware scanner did not let a file pass; it was deleted"
    DOCUMENT_HELD = "document:held", "A document waits until somebody has read its text"
    DOCUMENT_APPROVED = "document:approved", "A held document was read and approved"
    DOCUMENT_REJECTED = "document:rejected", "A held document was read and rejected"
    DOCUMENT_CANCELLED = "document:cancelled", "A person ended the reading of a document"
    DOCUMENT_DELETED = "document:deleted", "A document was deleted"
    DOCUMENT_DOWNLOADED = "document:downloaded", "An original was downloaded"

    SEARCH_TESTED = "search:tested", "Somebody tried a question on the test bench"
    SEARCH_GOLDEN_ADDED = "search:golden_added", "A question with its right passage was kept for testing the search"
    SEARCH_GOLDEN_REMOVED = "search:golden_removed", "A question for testing the search was removed"
    SEARCH_GOLDEN_ASKED = "search:golden_asked", "The search was measured with the questions kept for it"
    SEARCH_REBUILD_STARTED = "search:rebuild_started", "Documents are being embedded anew beside the running search"
    SEARCH_REBUILD_GIVEN_UP = "search:rebuild_given_up", "Documents embedded anew were thrown away"
    SEARCH_SWITCHED = "search:switched", "The search changed to the documents embedded anew"
    SEARCH_SWITCHED_BACK = "search:switched_back", "The search went back to what it used before"
    SOURCE_RAN = "source:ran", "A folder or bucket was synchronised and something had changed"
    SOURCE_DECIDED = "source:decided", "A person decided about files that are gone from a source"

    CONVERSATION_DELETED = "conversation:deleted", "A conversation was deleted by its owner"

    SECRET_READ = "secret:read", "A secret was read from the secret manager"
    SECRET_STORED = "secret:stored", "A secret was stored in the secret manager"

    ROTATION_STARTED = "rotation:started", "The exchange of a key or password began"
    ROTATION_HURRIED = "rotation:hurried", "An exchange that was under way became more urgent"
    ROTATION_PLANNED = "rotation:planned", "What is to be exchanged was looked up"
    ROTATION_MINTED = "rotation:minted", "A new key was made at the provider"
    ROTATION_STAGED = "rotation:staged", "The new key was stored, unseen by readers"
    ROTATION_VERIFIED = "rotation:verified", "The new key was tried and works"
    ROTATION_PROMOTED = "rotation:promoted", "The new key became the current one"
    ROTATION_UNSTAGED = "rotation:unstaged", "The waiting mark was taken off the new key"
    ROTATION_ANNOUNCED = "rotation:announced", "Every process was told to read the key again"
    ROTATION_DRAINED = "rotation:drained", "Nobody of ours uses the key any more that is to be deleted"
    ROTATION_RETIRED = "rotation:retired", "A key was deleted at the provider"
    ROTATION_NOT_RETIRED = "rotation:not_retired", "The provider would not delete a key without its account"
    ROTATION_PROVED = "rotation:proved", "The provider refuses the deleted key"
    ROTATION_CLOSED = "rotation:closed", "The exchange of a key or password ended"
    ROTATION_REPEATED = "rotation:repeated", "A step was taken again, because what it had made was lost"
    ROTATION_GIVEN_UP = "rotation:given_up", "The exchange of a key or password is being given up"
    ROTATION_REVERTED = "rotation:reverted", "The old key is the current one again"
    ROTATION_NOT_REVERTED = "rotation:not_reverted", "The old key is dead, so the new one stays"
    ROTATION_NEEDS_PERSON = "rotation:needs_person", "The exchange of a key or password waits for a person"
    ROTATION_CONFIRMED = "rotation:confirmed", "A person confirmed the deletion of a key without a new one"
    ROTATION_REMINDED = "rotation:reminded", "A key that should be deleted still works"
    ROTATION_FOREIGN_USE = "rotation:foreign_use", "The old key was used by somebody else than ChatGrid"
    KEY_ACCESS_ENDED = "key:access_ended", "A person lost access to a department's key"

    PROJECT_STEP_DONE = "project:step_done", "A step of a department's project at the provider was done"
    PROJECT_READY = "project:ready", "A department's project at the provider is as planned"
    PROJECT_STOPPED = "project:stopped", "Work on a department's project at the provider stopped"
    PROJECT_ADOPTED = "project:adopted", "An existing project at the provider was taken over"
    PROJECT_ARCHIVED = "project:archived", "A department's project at the provider was closed for ever"
    DRIFT_FOUND = "drift:found", "A project at the provider differs from what is wanted"
    DRIFT_VANISHED = "drift:vanished", "A difference at the provider is gone by itself"
    DRIFT_REPAIRED = "drift:repaired", "A difference at the provider was repaired"

    RULES_CHANGED = "department:rules_changed", "A department admin changed what the assistant is told"
    TRIAL_STARTED = "trial:started", "A department admin began to try attacks on the department's rules"
    TRIAL_FINISHED = "trial:finished", "A trial of a department's rules ended"

    STORE_CREATED = "store:created", "A department's store was created"
    STORE_DELETED = "store:deleted", "A department's store was deleted"
    STORE_BACKED_UP = "store:backed_up", "A department's store was written into a file"
    STORE_RESTORED = "store:restored", "A department's store was replaced by what a file held"

    ADMIN_CHANGED = "admin:changed", "IT changed something in the console"

    CONTROL_FAILED = "control:failed", "A check of a control does not hold"
    CONTROL_HOLDS = "control:holds", "A check of a control that had failed does not fail any more"

    MORE_ASKED = "limit:more_asked", "A person asked for more than their budget"
    MORE_GRANTED = "limit:more_granted", "A department admin granted a person more, until it ends"
    MORE_DECLINED = "limit:more_declined", "A department admin declined a request for more"
    MORE_ENDED = "limit:more_ended", "A grant reached its end"
    MORE_WITHDRAWN = "limit:more_withdrawn", "A department admin or IT ended a grant before its end, with a reason"
    LIMIT_ALERTED = "limit:alerted", "A share of a budget was reached, and whoever should know was told"

    FLOOD_REFUSED = "limit:flood_refused", "A request was refused by the flood shield"

    PUSH_SKIPPED = "record:push_skipped", "An operator let a SIEM go on without one event that it never takes"
    SEAL_KEY_CHANGED = "record:key_changed", "The record is sealed with a new key from here on"
    MONTH_DROPPED = "record:month_dropped", "A month of the record reached its end, was archived and is dropped"
    TEXTS_ERASED = "record:texts_erased", "Texts of questions reached their end and were erased"
    CONVERSATIONS_EXPIRED = "record:conversations_expired", "Conversations reached their end and were deleted"
    EXPORT_BEGUN = "record:export_begun", "Somebody began to export a part of the record"
    EXPORT_FINISHED = "record:export_finished", "An export is complete; the event holds the digest of its manifest"
    RECORD_VERIFIED = "record:verified", "The whole record was verified; the event holds the result"
    QUESTION_READ = "record:question_read", "An auditor read the text of another person's question"
    QUESTION_SEARCHED = "record:question_searched", "An auditor looked for a question among the hashed ones"
    USAGE_UNEXPLAINED = "record:usage_unexplained", "The provider counts usage that the record does not know"
    USAGE_COMPARED = "record:usage_compared", "A day of the record was compared with usage and bill of the provider"
    LEAK_CLOSED = "record:leak_closed", "A key that somebody else used was exchanged, or the use was ended"

    PROVIDER_LOGGED = "provider:logged", "OpenAI's own audit log says that this happened there"
    PROVIDER_ACT_FOREIGN = "provider:act_foreign", "Somebody else than ChatGrid changed keys or bounds of our project"


CRITICAL = frozenset(
    {
        *(event for event in Event if event.startswith(("rotation:", "project:", "drift:", "record:", "control:"))),
        Event.PROVIDER_ACT_FOREIGN,
        Event.SECRET_STORED,
        Event.KEY_ACCESS_ENDED,
        Event.ACCESS_ENDED,
        Event.SECOND_FACTOR_REMOVED,
        Event.SECOND_FACTOR_TAKEN_OFF,
        Event.ADMIN_CHANGED,
        Event.RULES_CHANGED,
        Event.STORE_CREATED,
        Event.STORE_DELETED,
        Event.STORE_BACKED_UP,
        Event.STORE_RESTORED,
    }
)
"""What is sealed at once instead of at the next minute: keys, roles, retention, exports, changes by IT."""


class Outcome(TextChoices):
    """How a call ended, as the person saw it."""

    ANSWERED = "answered", "Answered"
    STOPPED = "stopped", "Stopped by the person"
    ABANDONED = "abandoned", "The browser went away"
    CUT = "cut", "The provider's answer broke off"
    REFUSED = "refused", "Refused"
    FAILED = "failed", "Failed"
    LOST = "lost", "The process that held the call died"
