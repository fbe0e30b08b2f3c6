//! Every diagnostic code, with the paragraph `engine explain CODE` prints.
//!
//! `E01xx` text and structure, `E02xx` connections, `E03xx` mappings and
//! fields, `E04xx` rules, templates and expressions, `E05xx` schedules and
//! policies, `E06xx` what only the systems know (`--online`, and at the start
//! of a run), `E07xx` rejections of values, `E08xx` faults of systems, `E09xx`
//! state. A code is never reused for another problem.

use serde::{Serialize, Serializer};

/// A stable name of one kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(&'static str);

impl Code {
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The code of this name, in any case.
    pub fn find(name: &str) -> Option<Code> {
        CODES.iter().find(|entry| entry.0.eq_ignore_ascii_case(name)).map(|entry| Code(entry.0))
    }

    /// One line that names the problem.
    pub fn title(self) -> &'static str {
        CODES.iter().find(|entry| entry.0 == self.0).map_or("", |entry| entry.1)
    }

    /// The paragraph behind the code: why it is a problem and how to mend it.
    pub fn paragraph(self) -> &'static str {
        CODES.iter().find(|entry| entry.0 == self.0).map_or("", |entry| entry.2)
    }

    /// All codes in order.
    pub fn all() -> impl Iterator<Item = Code> {
        CODES.iter().map(|entry| Code(entry.0))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal, $paragraph:literal;)*) => {
        impl Code {
            $(#[doc = $title] pub const $name: Code = Code($code);)*
        }
        const CODES: &[(&str, &str, &str)] = &[$(($code, $title, $paragraph)),*];
    };
}

codes! {
    SYNTAX = "E0101", "the file is not well-formed YAML",
        "The text cannot be read as YAML at the place shown. Common causes are a tab used for indentation, a quote that is never closed, a missing blank after a colon, or two keys on different indentation. Nothing else in this document can be checked until it is mended.";
    WRONG_TYPE = "E0102", "a value of another type was expected",
        "The setting takes a text, a number, a list or a mapping, and something else stands there. A scalar gets its type from where it is used, so `00001` or `NO` are fine wherever text is expected.";
    UNKNOWN_NAME = "E0103", "an unknown name",
        "No setting of this name exists at this level. Names are never ignored: a misspelt setting would otherwise silently do nothing. The help line names the nearest known one.";
    MISSING_NAME = "E0104", "a required setting is missing",
        "The block is incomplete without this setting.";
    DUPLICATE_KEY = "E0105", "the same key stands twice in one mapping",
        "YAML allows a key only once in a mapping. One of the two would be lost, so both are refused.";
    BAD_VALUE = "E0106", "a value that the setting does not take",
        "The value has the right type, but is not one the setting knows: an interval that is not like `5m`, a zone that is not an IANA name, a policy that does not exist.";
    NOT_YET = "E0107", "a form that this version does not build yet",
        "The form belongs to the language, but this version of the engine does not carry it out. It is refused rather than ignored.";
    FILE_REFUSED = "E0108", "a file that cannot be read",
        "The file is larger than the limit, is not UTF-8, is nested too deeply, expands too far through aliases, or cannot be opened.";
    UNUSED_NAME = "E0109", "a name that nothing uses",
        "The name is declared, but nothing refers to it. This is a warning.";
    REQUIRED_BLANK = "E0701", "a required field has no value",
        "The field is marked `required: true`, and the record has nothing to fill it with. The record is parked and comes back by itself when the value is there.";
    DOES_NOT_FIT = "E0702", "a value does not fit the field it is written to",
        "The value is too long, has more digits than the field holds, or is of another nature. The engine never cuts or rounds by itself: use a rule such as `round`, or widen the field. The record is parked.";
    STORED_OTHERWISE = "E0703", "a system stored something else than what was sent",
        "The value that the system shows after the write does not mean what was sent: a number was rounded away, a text cut, a trigger changed it. The write is undone where that can be done, and the record is parked: it is tried again when it changes, or by `engine parked retry`.";
    MALFORMED = "E0704", "a record cannot be read",
        "The system shows a record that has no key, or that cannot be read as what its fields are declared to be. It is parked until it changes. Of a file, the message names the line. As long as not even its key can be told, nothing on its side counts as deleted: it may be what seems to be gone.";
    AMBIGUOUS = "E0705", "several records match, or the one that matches is taken",
        "Links are one to one. Where `match` finds several records, or one that is linked already (by this mapping, or by another that writes the same fields of the target), nothing is guessed, and neither is it where several records of a side have the key that the mapping goes by: the record is parked until the double is gone, the other link is, or `match` says more.";
    LOOPING = "E0706", "a field is written to and fro",
        "The engine has written this field four times in ten runs, each time against a change of the side it was written to: two systems or two mappings disagree about it. Or a value that came from this field comes back changed, through a ring of mappings whose rules do not undo each other; it would change once more with every round. The record is parked: make the rules agree, or take the field out of one of the mappings. The record is left alone until then, and until `engine parked retry` lets it go on; what came back through a ring goes on by itself once the rules agree.";
    KEY_TAKEN = "E0707", "a record with this key is there already",
        "The record would be created under a key that another record has, and that one is not its counterpart: `match` does not say that they are the same, the key is blank, or `where`, `when` or `deleted` hides the other record from the mapping. It is parked and tried again by itself: let the filter show the other record, take its mark off, give one of the two another key, or let `match` say that they are the same.";
    REFUSED = "E0708", "the system refused the record",
        "A constraint, a trigger or a validation of the system said no; its own words are in the message. The record is parked and tried again by itself. Two records that swap a value which has to be unique cannot be written one after the other: give one of them a third value for one run.";
    KEY_BLANK = "E0709", "a key field has no value",
        "A record is created under a key that fields of the mapping fill, at least in part, and one of them has no value in this record. It is parked and comes back by itself when the value is there.";
    NOT_APPLIED = "E0710", "a decision that was not applied",
        "A decision is made for the values that `engine conflicts` shows. Where one of them has moved since, or the value that was decided on does not fit the field, nothing is written for it, and the conflict waits again with the values that stand now: look at it, and decide anew.";
    IN_DOUBT = "E0801", "sent, without an answer, and there is no way to look",
        "Whether the record was created cannot be told; or it was created, and the system did not say under which key. It is not sent again, and nothing else is written for it. Each run looks for it by `match`, where the mapping has one; else `engine parked settle` says what happened.";
    SYSTEM_FAILED = "E0802", "a system could not be reached, or refused us",
        "The system did not answer, is busy, or did not let us in; its own words and code are in the message. Look at the connection's address, its credentials and rights with `engine check`. Nothing is lost: the next run goes on where this one stopped.";
    RESTLESS = "E0803", "a record changed each time it was about to be written",
        "Somebody edits the record faster than the engine can write it. It is owed, and tried again on the next run; after three such runs it is told as parked.";
    FINGERPRINT = "E0901", "a side is not the one the links belong to",
        "The links of a mapping belong to one system, object and key on each side. Another one stands there now. Where only the address or a name changed and the records are the same, `engine state adopt` says so. Links name records by their key: where `key` has other fields now, they cannot be taken over. Put the former key back, or start anew with `engine reset --links`: the next run is then a first sync, which finds records again by `match`.";
    RESTORED = "E0902", "a side was restored from a backup",
        "Its history is another one than when it was last read: its server's timeline or its table is not the same (PostgreSQL), or its newest stamps lie before its `cursor`. A SQLite file shows nothing else: without a cursor, or once somebody has edited it after the restore, there is no sign, so that whoever restores one has to reset its mappings. What the restore took back cannot be told from what people deleted or edited, so nothing is written until `engine reset`, whatever the side shows meanwhile. Look first at what the restore took back: `engine reset PATH MAPPING` keeps the links and reads everything anew, so that differences flow as edits and gaps as deletions (on a side that marks what is deleted a gap is told only when its counterpart is edited); with `--links` the next run is a first sync that finds records again by `match`. New records under keys that were used after the backup are taken for those records: only `--links` tells them apart.";
    UNSAFE_FIRST = "E0903", "a first sync into a side that already holds records",
        "The mapping may create records on this side, which holds some already, and nothing says which of them are the same as those of the other side: records would be doubled. Add `match`, map every key field, or take `create` from the side with `allow`.";
    LIMIT = "E0904", "a limit of the mapping was reached",
        "The run would have created, updated or deleted more records than `limits` allows. Creates and updates are made up to the limit, and the next run goes on from there; deletes are held back, all of them. `engine plan` shows what would be done. `--over-limit` lets one run through.";
    BROKE_OFF = "E0905", "a run broke off by a fault of the engine",
        "This is a mistake in the engine itself. What was committed stands, and the next run settles what was under way before it does anything else. Please report it with the message and the log.";
    STATE_FAILED = "E0906", "the state could not be read or changed",
        "The links, bases and cursors of a project lie in `.engine/`, or where `--state` says. Another engine may run on it, the disk may be full, or the file may be damaged; the message says which.";
    LEFT_BEHIND = "E0907", "links of a mapping that no file has",
        "Links, bases and cursors belong to a mapping by its name. The state has links of a mapping that no file has any more: it was removed, or renamed, and under its new name it begins with a first sync. This is a warning, given where a whole project is checked beside its state.";
    PLAN_BROKEN = "E0908", "a plan that cannot be applied",
        "`engine apply` takes the file that `engine plan --out` has written, whole: a line for each change, between a first and a last line that say so. Lines of changes may be taken out; what is to be written is decided by the engine, and a line that says anything else is refused like one that has moved. Make the plan anew where the file was cut off, or the project is elsewhere (`--project`).";
    SAME_NAME = "E0110", "two things of the same name",
        "Within one folder a connection and a mapping need a name of their own each: links, states and other mappings refer to them by it. The related place shows where the name stands first.";
    NOTHING_THERE = "E0112", "a project without anything in it",
        "The folder has no YAML file, or none of its files has a mapping, so that nothing would ever run. Most often the path is not the one that is meant. A mapping is a document that begins with `mapping: NAME`.";
    EMPTY_CASE = "E0113", "a test that can show nothing",
        "A case under `tests:` needs a record to try the mapping on, and something that is expected of it. A case that expects nothing passes whatever the mapping does, and would only seem to guard it.";
    EXCLUSIVE = "E0111", "settings that exclude each other",
        "Each of the settings is fine by itself, but together they say two different things, and one of them would have to be ignored. Keep the one that is meant.";

    UNKNOWN_CONNECTION = "E0201", "a connection that does not exist",
        "A side names its connection as it stands under `connections:`. Looked up are the connections of the mapping's own folder first, then those of the folders above it, up to the project. Connections of other folders are not seen.";
    BAD_REFERENCE = "E0202", "a reference to the environment that cannot be read",
        "Settings of connections may hold `${NAME}` or `${NAME:-default}`, which read the environment, or the `.env` file beside the project; `${file:PATH}`, which reads a mounted file; and, as mappings may, `${var.NAME}`, which reads what stands under `vars:`. A name has letters, digits and `_`, and does not start with a digit. A `$` without a brace is an ordinary character.";
    UNSET_VARIABLE = "E0203", "an environment variable that is not set",
        "The setting reads a variable that neither the environment nor the `.env` file has, and it gives no default. Checking a project needs none of them; opening a connection does.";
    MISSING_FILE = "E0204", "a file that does not exist",
        "The setting names a file, relative to the file in which it is written, and there is none.";

    FIELD_TWICE = "E0301", "a field that two entries write",
        "Within a mapping a field has one writer in each direction. With two, the value would depend on their order, and a way back could not be told. Remove one entry. And what entries of one direction carry over must not come back by others: two edits would change places for ever. One entry goes both ways, with `reverse` where the way back has other rules.";
    EMPTY_ENTRY = "E0302", "a field entry that leads nowhere",
        "An entry names a field of each side, or one field and the `template` or `value` that fills it. With less, nothing would be written.";
    UNMAPPED_MATCH = "E0303", "`match` names a field that nothing fills",
        "Records that have no link yet are found by comparing the target's fields under `match` with what the mapping makes of the source. A field that no entry fills has nothing to compare with.";
    READ_ONLY = "E0304", "an object that can only be read",
        "An object made from a query cannot be written. Let the mapping write the other side only, or name a table.";

    UNKNOWN_RULE = "E0401", "an unknown rule",
        "No rule of this name exists, neither in `rules`, `reverse` or `equal` nor as a filter of an expression. The help line names the nearest one; `engine schema mapping` lists them all with their arguments.";
    LOSSY_RULE = "E0402", "a lossy rule in a two-way field",
        "The field is carried in both directions, and this rule drops something that the way back would need: `upper_case` loses which letters were small. Say with `reverse` which rules lead back, or give the field one `direction`. Where the loss only matters for comparing, put the rule under `equal` instead: it then changes neither side.";
    AMBIGUOUS_MAP = "E0403", "a map whose way back is ambiguous",
        "Two entries of the map lead to the same value, or one leads to null, so that on the way back nobody can tell which of them it was. Make the values differ, give the field a `reverse` with a map of its own, or one `direction`.";
    BAD_FORMAT = "E0404", "a date format that cannot be used",
        "The format has a specifier that strftime does not know, or does not hold all that is needed to read the date or time back. A date needs year, month and day (`%Y%m%d`), a date and time also hour and minute.";
    EXPRESSION_SYNTAX = "E0405", "an expression or template that does not parse",
        "The text is not an expression or template of Jinja's language. In YAML, an expression that begins with a quote or a brace must itself be quoted. Text constants stand in quotes, fields are bare names, rules follow a bar: `name | trim`.";
    UNKNOWN_FIELD_NAME = "E0406", "a name that the record does not have",
        "Bare names in expressions are the fields of the side that is read, and this side has no field of that name. A field whose name is not a word is written `record[\"A NAME\"]`, a text constant in quotes.";
    KINDS_DO_NOT_MEET = "E0407", "a rule that does not take what arrives",
        "The rule cannot work on values of the type that reaches it, as the rules before it or the field's own type make them: there is no `upper_case` of a date. Put a rule between that makes the right type, or leave this one out.";

    UNKNOWN_AFTER = "E0501", "`after` names a mapping that does not exist",
        "A mapping is named as seen from the folder of the one that waits for it: by its own name within the folder or a folder above, or with its namespace, as in `acme/sellers`.";
    AFTER_CYCLE = "E0502", "mappings that wait for each other",
        "Each mapping in the circle runs after the next one, so none of them could run first. Remove one `after`.";
    IDLE_POLICY = "E0503", "a policy that cannot apply",
        "The setting belongs to a situation that cannot come about in this mapping or field: conflicts of a field that goes one way, deletes towards a side that is never written. It is refused, since whoever wrote it expects something of it.";
    UNSEEN_DELETES = "E0504", "deletes that would never be noticed",
        "A side that is read by its cursor shows what changed, and a deleted record does not show up. Say under `deleted` how it is known: by a mark in the record, by an expression, or by a sweep over all keys.";
    NEVER_DUE = "E0505", "a schedule that never comes",
        "The cron pattern fits no day in any year, such as the 31st of February.";
    MARK_PASSED_OVER = "E0506", "rows deleted on a side that marks what is deleted",
        "`propagate` deletes the row itself. Where a side marks its deleted records, as an ERP does, whoever works there expects the mark and may need the row. `{ set: … }` with the mark's field and value sets it instead.";

    NOT_A_NUMBER = "E0711", "a value that is not a number",
        "A rule that needs a number met a text that is none in the notation it reads, or a number with a fraction where only whole ones go. `decimal` with a locale reads other notations; `round` says what becomes of a fraction.";
    NOT_A_TIME = "E0712", "a value that is not the date or time expected",
        "A text does not have the form that the rule's format describes, is a day or hour that does not exist, or a time cannot be written in that form without becoming another one.";
    UNLISTED_VALUE = "E0713", "a value that the map does not list",
        "The `map` or `boolean` has no entry for this value and no `default`. It is rejected rather than guessed: add the entry, or a `default` if every other value means the same.";
    WRONG_NATURE = "E0714", "a value of another nature than the rule or operator takes",
        "Text does not compute, a list has no capitals, and a text and a number have no order. A rule such as `decimal`, `date` or `boolean` makes the right type first.";
    NUMBER_TOO_LONG = "E0715", "a number with too many digits to compute with",
        "Numbers are exact and have up to 28 digits. A result that would need more is refused rather than rounded in silence: `round` the operands, or give the rule a `scale`.";
    DIVISION_BY_ZERO = "E0716", "a division by zero",
        "The divisor is zero in this record. Test it first: `a / b if b else none`.";
    NOT_THE_FORM = "E0717", "a value without the form that its rule gives it",
        "On the way back a `prefix` or `suffix` is taken off again, and this value does not have it. It was written by somebody who did not know of it; it is rejected rather than carried over as it is.";
    NEEDS_STAMP = "E0305", "a setting that needs to know when a record changed",
        "`start` and the policy `newest` compare when records changed. Give the side a `modified`, or a `cursor` that holds a time.";
    NO_SUCH_FIELD = "E0601", "a field that the object does not have",
        "The system was asked and knows no field of this name. Names are taken as they are written; one that differs only in case is found where it is the only one.";
    NO_KEY = "E0602", "an object without a key",
        "Without a key a record cannot be told from another. The system names no primary key here, so `key:` has to.";
    NO_SUCH_OBJECT = "E0603", "an object that the system does not have",
        "The system was asked and knows no object of this name, or several that differ only in case. A dot separates schema and table; a part in double quotes is taken whole.";
    BAD_FILTER = "E0610", "a `where` that the system does not understand",
        "`where` is handed to the system as it is written, in the system's own language: SQL for a database, where a text stands in single quotes, equality is one `=`, and columns are those of the object. The system's own words are in the message.";
    NO_RIGHT = "E0605", "a right that the mapping needs is missing",
        "The connection's user may not do to this object what the mapping would. Grant the right, or narrow the mapping with `allow`, `deletes` or `direction`.";
    KEY_NOT_UNIQUE = "E0606", "a key that nothing keeps unique",
        "Links go by keys: two records of one key would be taken for one, and the second would be lost. The system has no unique index over these fields. This is a warning, since the data may be unique all the same.";
    KEY_NOT_FILLED = "E0607", "a key that new records would not have",
        "A record is created under a key that either a field of the mapping fills or the system gives (a sequence, an identity, a default). For this key field there is neither.";
    FIELD_NOT_FILLED = "E0609", "a field that new records would lack",
        "The system takes no record without a value in this field, no field of the mapping fills it, and the system gives it none by itself: every create would be refused, unless a trigger fills it. That is why this is a warning.";
    NOT_INDEXED = "E0611", "a field that is looked up without an index",
        "New records are looked for by the fields under `match`, and changes by the cursor. Without an index that begins with that field the system reads the whole object for it, for `match` once for each batch of records. This is a warning: small objects can do without.";
    NOT_A_KEY = "E0612", "a field by which no record is found",
        "Records are looked for by the values of their key and of what stands under `match`. A document or a list has many spellings, and systems do not find one by another: name fields that hold single values.";
    SYSTEM_NOTE = "E0608", "something to know of an object",
        "A note: the system does something that is worth knowing. A type that the engine carries as text, a trigger that changes what is written, changes that only the overlap of the cursor catches.";
    FIELD_READ_ONLY = "E0604", "a field that cannot be written",
        "The system computes this field itself, or shows it in a view that cannot be written.";
}
