-- Posthouse: the schema of DATA/mail.db, version 7 (PRAGMA user_version).
--
-- Read it with the stock tool: sqlite3 -readonly DATA/mail.db
-- Times ending in _ms are Unix milliseconds UTC, in _s Unix seconds UTC. Addresses and domains are lower case.
-- Keys grow: a new row lands on the page that was written last, which is what makes a group commit cheap.
-- References between tables are kept by the store's own code (and checked by the crash tests), not by triggers.

-- Numbers that only grow and are shared by every process that writes.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,  -- 'message': first message id no process has reserved; 'event': last event id given; 'verify': self-checks;
                           -- no row until one was removed: 'segment': highest number of a removed segment;
                           -- 'events_from_day': first day (since 1970) whose events are all there;
                           -- 'evidence': last event that the reputation of our addresses has been told of
    value INTEGER NOT NULL   -- its present value
) WITHOUT ROWID;
INSERT INTO counters VALUES ('message', 1), ('event', 0), ('verify', 0);

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,  -- dotted name, e.g. 'queue.expire_hours'
    value TEXT NOT NULL      -- as text
) WITHOUT ROWID;

CREATE TABLE domains (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,  -- DomainId, never used twice
    name           TEXT NOT NULL UNIQUE,               -- lower case
    created_ms     INTEGER NOT NULL,                   -- when it was added
    quota_octets   INTEGER NOT NULL DEFAULT 0,         -- limit of the sum over its accounts' used_octets; 0: none
    quota_messages INTEGER NOT NULL DEFAULT 0,         -- limit of the sum over its accounts' used_messages; 0: none
    hosted         INTEGER NOT NULL DEFAULT 1          -- 1: its mail is kept here; 0: mail from it is signed, no more
);

CREATE TABLE accounts (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,  -- AccountId, never used twice
    domain            INTEGER NOT NULL,                   -- domains.id
    address           TEXT NOT NULL UNIQUE,               -- login and main address, lower case
    display_name      TEXT NOT NULL,                      -- for people
    password_hash     TEXT NOT NULL,                      -- argon2id
    disabled          INTEGER NOT NULL DEFAULT 0,         -- 1: may not log in
    quota_octets      INTEGER NOT NULL DEFAULT 0,         -- limit of used_octets; 0: none
    quota_messages    INTEGER NOT NULL DEFAULT 0,         -- limit of used_messages; 0: none
    used_octets       INTEGER NOT NULL DEFAULT 0,         -- sum of size_octets over its entries
    used_messages     INTEGER NOT NULL DEFAULT 0,         -- number of its entries
    modseq            INTEGER NOT NULL DEFAULT 0,         -- last MODSEQ given (RFC 7162 3.1); only grows
    uid_validity_next INTEGER NOT NULL DEFAULT 1,         -- lowest UIDVALIDITY a new mailbox may get; only grows
    created_ms        INTEGER NOT NULL,                   -- when it was added
    file_sent         INTEGER NOT NULL DEFAULT 0          -- 1: what it submits is filed in its Sent mailbox
);
CREATE INDEX accounts_by_domain ON accounts (domain);

CREATE TABLE aliases (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- AliasId
    address    TEXT NOT NULL UNIQUE,               -- local@domain, or @domain for the catch-all
    created_ms INTEGER NOT NULL                    -- when it was added
);

CREATE TABLE alias_targets (
    alias    INTEGER NOT NULL,  -- aliases.id
    position INTEGER NOT NULL,  -- order as given, from 0
    target   TEXT NOT NULL,     -- a local or remote address
    PRIMARY KEY (alias, position)
) WITHOUT ROWID;

-- Which mail takes which ways. The first row by (priority, id) that fits counts.
CREATE TABLE routes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- RouteId
    name       TEXT NOT NULL UNIQUE,               -- how the administrator calls it
    priority   INTEGER NOT NULL,                   -- lower is tried first; ties by id
    sender     TEXT NOT NULL,                      -- '' matches any; address, domain or '*.example.org'
    recipient  TEXT NOT NULL,                      -- likewise
    ways       TEXT NOT NULL,                      -- ways.name in order, commas between; '+' shares one step by weight: 'direct,a*3+b*1'
    provider   TEXT NOT NULL DEFAULT '',           -- who keeps the recipient's mail: 'google'; '' any
    octets_min INTEGER NOT NULL DEFAULT 0,         -- size of the message from here on
    octets_max INTEGER NOT NULL DEFAULT 0,         -- and up to here; 0: no limit
    class      INTEGER,                            -- queue_items.class; NULL: any
    client     TEXT NOT NULL DEFAULT ''            -- relay_clients.name that handed it in; '' any
);

-- Manners of sending. 'direct', 'hold' and 'fail' are always there and are no rows.
CREATE TABLE ways (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,  -- WayId
    name               TEXT NOT NULL UNIQUE,               -- how routes call it
    kind               TEXT NOT NULL,                      -- 'direct', 'smarthost', 'hold', 'fail'
    pool               TEXT NOT NULL DEFAULT '',           -- direct: source_addresses.pool; '' leaves the address to the system
    url                TEXT NOT NULL DEFAULT '',           -- smarthost: its URL without secret
    preset             TEXT NOT NULL DEFAULT '',           -- the service it came from (posthouse route presets)
    sealed_secret      BLOB NOT NULL DEFAULT '',           -- password or client secret, sealed, purpose "route"; '' where none is needed
    ca_file            TEXT NOT NULL DEFAULT '',           -- trust anchors; '' for the system's
    headers            TEXT NOT NULL DEFAULT '',           -- lines 'Name: value' set on what goes this way
    token_url          TEXT NOT NULL DEFAULT '',           -- XOAUTH2: where tokens are had; '' for a login with a password
    client_id          TEXT NOT NULL DEFAULT '',           -- XOAUTH2: the application
    scope              TEXT NOT NULL DEFAULT '',           -- XOAUTH2: what is asked for
    sealed_refresh     BLOB NOT NULL DEFAULT '',           -- XOAUTH2: refresh token, sealed, purpose "route"; '' for client credentials
    connections_max    INTEGER NOT NULL DEFAULT 0,         -- at a time; 0: no limit of its own
    minute_max         INTEGER NOT NULL DEFAULT 0,         -- recipients a minute; 0: none
    day_max            INTEGER NOT NULL DEFAULT 0,         -- recipients a UTC day; 0: none
    message_octets_max INTEGER NOT NULL DEFAULT 0,         -- size of a message; 0: none
    recipients_max     INTEGER NOT NULL DEFAULT 0,         -- recipients a transaction; 0: none
    return_path        TEXT NOT NULL DEFAULT ''            -- domain of the reverse-path of what goes this way; '' leaves the sender's
);

-- Local addresses that direct ways send from.
CREATE TABLE source_addresses (
    address TEXT PRIMARY KEY,          -- in its usual spelling
    pool    TEXT NOT NULL,             -- ways.pool
    ehlo    TEXT NOT NULL DEFAULT '',  -- what it calls itself; '' for the server's name
    weight  INTEGER NOT NULL DEFAULT 1,  -- its share of what its pool sends
    warm_ms INTEGER NOT NULL DEFAULT 0   -- since when it is warmed up; 0: it is warm
) WITHOUT ROWID;

-- What each account sends to others by the hour, for four weeks: the baseline that a burst is measured by.
CREATE TABLE account_hours (
    account    INTEGER NOT NULL,  -- accounts.id
    hour       INTEGER NOT NULL,  -- since 1970, UTC
    messages   INTEGER NOT NULL,  -- submitted
    letters    INTEGER NOT NULL,  -- of them those that do not call themselves mail to many
    recipients INTEGER NOT NULL,  -- of them
    fresh      INTEGER NOT NULL,  -- of these: never written to before
    bounced    INTEGER NOT NULL,  -- of these: do not exist
    PRIMARY KEY (account, hour)
) WITHOUT ROWID;

-- Whom an account has written to.
CREATE TABLE account_recipients (
    account INTEGER NOT NULL,  -- accounts.id
    hash    INTEGER NOT NULL,  -- FNV-1a of the address in lower case
    PRIMARY KEY (account, hash)
) WITHOUT ROWID;

-- Accounts that were held for review and released: they are not judged for a while.
CREATE TABLE account_trust (
    account  INTEGER PRIMARY KEY,  -- accounts.id
    until_ms INTEGER NOT NULL      -- until then
);

-- The same of what programs send to many, by stream: a newsletter is no flood where there was one before.
CREATE TABLE bulk_hours (
    stream     TEXT NOT NULL,     -- streams.name (the row may be gone); '' none
    account    INTEGER NOT NULL,  -- accounts.id
    hour       INTEGER NOT NULL,  -- since 1970, UTC
    messages   INTEGER NOT NULL,  -- submitted
    recipients INTEGER NOT NULL,  -- of them
    fresh      INTEGER NOT NULL,  -- of these: never written to before
    PRIMARY KEY (stream, account, hour)
) WITHOUT ROWID;

-- Who took mail of ours: what a sudden "there is no such user" is weighed against (storage/takers.h).
CREATE TABLE takers (
    hash       INTEGER PRIMARY KEY,  -- FNV-1a of the address in lower case
    first_day  INTEGER NOT NULL,     -- since 1970, UTC: when it took mail first
    last_day   INTEGER NOT NULL,     -- likewise: when it did last, to the month
    unknown_ms INTEGER NOT NULL DEFAULT 0,  -- when it was refused as unknown first since then; 0: it was not
    late_ms    INTEGER NOT NULL DEFAULT 0   -- likewise by a report that came after the message was taken; 0: it was not
);

-- Sites that call unknown who took mail before: whether their directory is to be believed.
CREATE TABLE unknown_sites (
    site     TEXT PRIMARY KEY,  -- 'google', else the domain
    since_ms INTEGER NOT NULL,  -- when the hour began that the next two are of
    known    INTEGER NOT NULL,  -- different recipients that took mail before and are unknown now
    taken    INTEGER NOT NULL,  -- recipients that it took meanwhile
    usual    INTEGER NOT NULL,  -- of a thousand recipients, how many are unknown there in four weeks; -1: not looked at
    until_ms INTEGER NOT NULL DEFAULT 0,  -- it is not believed until then; 0: it is
    incident INTEGER NOT NULL DEFAULT 0   -- incidents.id that says so; 0: none
) WITHOUT ROWID;

-- Whom they called unknown within the last hour: what is undone when it turns out to be a burst.
CREATE TABLE unknown_lately (
    site    TEXT NOT NULL,     -- unknown_sites.site
    address TEXT NOT NULL,     -- lower case
    scope   TEXT NOT NULL,     -- of the suppression
    at_ms   INTEGER NOT NULL,  -- when it was said first
    PRIMARY KEY (site, address, scope)
) WITHOUT ROWID;

-- Mail without a sender that could not be delivered, and that somebody should hear of: the postmaster is told once a
-- day, and the rows go then. The oldest go where there are too many (storage/lost_mail.h).
CREATE TABLE lost_mail (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of time
    at_ms     INTEGER NOT NULL,                   -- when it was given up
    queue     INTEGER NOT NULL,                   -- queue_items.id (the row may be gone)
    recipient TEXT NOT NULL,                      -- whom it did not reach
    what      TEXT NOT NULL,                      -- what it was, one plain phrase
    reply     TEXT NOT NULL                       -- why, word for word
);

-- What our addresses are worth at each provider. No row: healthy.
CREATE TABLE reputation (
    source      TEXT NOT NULL,               -- the local address; '' where the system chooses
    provider    TEXT NOT NULL,               -- 'google'; 'other': all that are not known by name; '' everywhere
    standing    INTEGER NOT NULL,            -- 0 healthy 1 watched 2 drained 3 probation
    step        INTEGER NOT NULL DEFAULT 0,  -- of the probation: 1, 5, 25, 100 %
    since_ms    INTEGER NOT NULL,            -- of this standing and step
    score       INTEGER NOT NULL,            -- 0..100
    why         TEXT NOT NULL,               -- one plain sentence
    by_hand     INTEGER NOT NULL DEFAULT 0,  -- 1: drained by hand, comes back by hand
    falls       INTEGER NOT NULL DEFAULT 0,  -- times it was drained since it was healthy
    last_use_ms INTEGER NOT NULL DEFAULT 0,  -- probation: when a message was let through last
    clean       INTEGER NOT NULL DEFAULT 0,  -- probation: recipients taken in this step
    from_day    INTEGER NOT NULL DEFAULT 0,  -- since 1970: evidence of earlier days was answered by a fall and counts no more
    PRIMARY KEY (source, provider)
) WITHOUT ROWID;

-- What the standing is judged by: sketches of different recipients (storage/distinct.h), a row a day, for 30 days.
CREATE TABLE reputation_days (
    source     TEXT NOT NULL,     -- as in reputation
    provider   TEXT NOT NULL,     -- likewise
    day        INTEGER NOT NULL,  -- since 1970, UTC
    tried      BLOB NOT NULL,     -- written to
    blocked    BLOB NOT NULL,     -- refused for our address
    deferred   BLOB NOT NULL,     -- put off: too fast, for now
    bounced    BLOB NOT NULL,     -- there is nobody
    complained BLOB NOT NULL,     -- called it spam
    PRIMARY KEY (source, provider, day)
) WITHOUT ROWID;

-- How far new addresses are warmed up. No row: at the beginning.
CREATE TABLE warm_ups (
    source    TEXT NOT NULL,     -- source_addresses.address
    provider  TEXT NOT NULL,     -- as in reputation
    level     INTEGER NOT NULL,  -- clean days so far: 20 * 1.4 ^ level recipients an hour
    day       INTEGER NOT NULL,  -- since 1970, UTC, that the next two are of
    day_used  INTEGER NOT NULL,  -- recipients
    is_bad    INTEGER NOT NULL,  -- 1: it was refused or told to slow down
    hour      INTEGER NOT NULL,  -- since 1970, that the next is of
    hour_used INTEGER NOT NULL,  -- recipients
    PRIMARY KEY (source, provider)
) WITHOUT ROWID;

-- What block lists and the reverse DNS say of our addresses.
CREATE TABLE address_checks (
    source     TEXT NOT NULL,     -- the address
    list       TEXT NOT NULL,     -- the list's zone; 'ptr' for the reverse DNS
    found      INTEGER NOT NULL,  -- 0 as it should be 1 listed, or wrong 2 nobody knows
    detail     TEXT NOT NULL,     -- what was answered
    since_ms   INTEGER NOT NULL,  -- since when it is found so
    checked_ms INTEGER NOT NULL,  -- when it was asked last
    PRIMARY KEY (source, list)
) WITHOUT ROWID;

-- What was learned of ways: where one is refused for its address's fault, or does not work at all.
CREATE TABLE route_memory (
    way      TEXT NOT NULL,     -- ways.name, or 'direct'
    source   TEXT NOT NULL,     -- the local address; '' where the system chose
    site     TEXT NOT NULL,     -- the site that refused it; '' where the way as a whole does not work
    since_ms INTEGER NOT NULL,  -- when it began
    probe_ms INTEGER NOT NULL,  -- when one message may try again
    tries    INTEGER NOT NULL,  -- refusals without a success between
    reply    TEXT NOT NULL,     -- what was said last
    PRIMARY KEY (way, source, site)
) WITHOUT ROWID;

-- What a way has taken of its allowance.
CREATE TABLE way_use (
    way        TEXT NOT NULL,     -- ways.name
    day        INTEGER NOT NULL,  -- days since 1970, UTC
    recipients INTEGER NOT NULL,  -- handed over
    PRIMARY KEY (way, day)
) WITHOUT ROWID;

-- Other servers and devices of the house that hand their mail in here.
CREATE TABLE relay_clients (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,  -- RelayClientId, never used twice
    name           TEXT NOT NULL UNIQUE,               -- lower case, without '@'; also its login
    password_digest TEXT NOT NULL,                     -- SHA-256 (hexadecimal) of its password, 160 random bits; '' where it has none
    addresses      TEXT NOT NULL,                      -- known without a login from these: '192.0.2.7 192.0.2.16/28'
    sender_domains TEXT NOT NULL,                      -- what it may write as, blanks between
    minute_max     INTEGER NOT NULL,                   -- recipients a minute; 0: no limit
    day_max        INTEGER NOT NULL,                   -- recipients a UTC day; 0: no limit
    class          INTEGER NOT NULL,                   -- queue_items.class of its mail
    disabled       INTEGER NOT NULL DEFAULT 0,         -- 1: may send nothing
    created_ms     INTEGER NOT NULL,                   -- when it was added
    minute_ms      INTEGER NOT NULL DEFAULT 0,         -- the minute that minute_used counts
    minute_used    INTEGER NOT NULL DEFAULT 0,         -- recipients in it
    day            INTEGER NOT NULL DEFAULT 0,         -- the day that day_used counts, since 1970
    day_used       INTEGER NOT NULL DEFAULT 0,         -- recipients in it
    distrust       TEXT NOT NULL DEFAULT '',           -- why its addresses are not believed; '' where they are
    stream         TEXT NOT NULL DEFAULT ''            -- streams.name of its mail, where that names none; '' none
);

CREATE TABLE dkim_keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- DkimKeyId
    domain     INTEGER NOT NULL,                   -- domains.id
    selector   TEXT NOT NULL,                      -- label before ._domainkey
    algorithm  TEXT NOT NULL,                      -- 'rsa-sha256' or 'ed25519-sha256'
    sealed_pem BLOB NOT NULL,                      -- private key, sealed, purpose "dkim"
    dns_record TEXT NOT NULL,                      -- TXT value to publish
    active     INTEGER NOT NULL,                   -- 1: signs
    created_ms INTEGER NOT NULL,                   -- when it was made
    state      INTEGER NOT NULL DEFAULT 1,         -- 0 pending 1 active 2 retiring 3 retired
    changed_ms INTEGER NOT NULL DEFAULT 0,         -- since when it is in this state
    seen_ms    INTEGER NOT NULL DEFAULT 0,         -- pending: since when the DNS shows it; 0: not yet
    UNIQUE (domain, selector)
);

-- Where the octets lie: one row for each file in DATA/segments.
CREATE TABLE segments (
    id          INTEGER PRIMARY KEY,         -- the number in the file's name
    octets      INTEGER NOT NULL,            -- end of the last committed record; what lies beyond is ignored
    dead_octets INTEGER NOT NULL DEFAULT 0,  -- of records no message row names any more
    sealed      INTEGER NOT NULL DEFAULT 0   -- 1: nothing is appended any more
);

-- A stored message: where its octets lie and what was computed from them at arrival. Rows never change but for refs.
CREATE TABLE messages (
    id            INTEGER PRIMARY KEY,  -- MessageId, never used twice
    segment       INTEGER NOT NULL,     -- segments.id
    position      INTEGER NOT NULL,     -- offset of its record in that file
    stored_octets INTEGER NOT NULL,     -- payload of the record, header not counted
    size_octets   INTEGER NOT NULL,     -- of the message as received
    refs          INTEGER NOT NULL,     -- rows of entries, deleted_entries and queue_items that name it
    header_octets INTEGER NOT NULL,     -- of the header with the empty line
    hops          INTEGER NOT NULL,     -- Received fields
    date_ms       INTEGER,              -- Date field; NULL where absent or unreadable
    message_id    TEXT NOT NULL,        -- Message-ID field with angle brackets; '' where absent
    in_reply_to   TEXT NOT NULL,        -- first id of In-Reply-To, likewise
    subject       TEXT NOT NULL,        -- decoded
    from_text     TEXT NOT NULL,        -- first author, decoded
    to_text       TEXT NOT NULL,        -- recipients of To, decoded
    envelope      BLOB NOT NULL,        -- IMAP ENVELOPE, ready to send
    structure     BLOB NOT NULL         -- MIME tree, binary (protocols/mime/structure)
);

CREATE TABLE mailboxes (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,  -- MailboxId, never used twice
    account        INTEGER NOT NULL,                   -- accounts.id
    name           TEXT NOT NULL,                      -- UTF-8 path, '/' between the levels; 'INBOX'
    uid_validity   INTEGER NOT NULL,                   -- never changes, unique in its account
    uid_next       INTEGER NOT NULL DEFAULT 1,         -- next UID to give; only grows
    highest_modseq INTEGER NOT NULL,                   -- of its last change
    messages       INTEGER NOT NULL DEFAULT 0,         -- number of its entries
    unseen         INTEGER NOT NULL DEFAULT 0,         -- of them without \Seen
    octets         INTEGER NOT NULL DEFAULT 0,         -- sum of their size_octets
    recent_from    INTEGER NOT NULL DEFAULT 1,         -- first UID that no session was told of
    special_use    INTEGER NOT NULL DEFAULT 0,         -- 0 none 1 drafts 2 sent 3 junk 4 trash 5 archive
    UNIQUE (account, name)
);

-- Subscriptions outlive the mailbox (RFC 3501 6.3.6), so they are names.
CREATE TABLE subscriptions (
    account INTEGER NOT NULL,  -- accounts.id
    name    TEXT NOT NULL,     -- mailbox name
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- A message in a mailbox.
CREATE TABLE entries (
    mailbox         INTEGER NOT NULL,  -- mailboxes.id
    uid             INTEGER NOT NULL,  -- 1..2^32-1
    modseq          INTEGER NOT NULL,  -- of its last change
    flags           INTEGER NOT NULL,  -- 1 seen 2 answered 4 flagged 8 deleted 16 draft
    keyword_set     INTEGER NOT NULL,  -- keyword_sets.id; 0: none
    internal_date_s INTEGER NOT NULL,  -- INTERNALDATE
    save_date_s     INTEGER NOT NULL,  -- when it came into this mailbox
    size_octets     INTEGER NOT NULL,  -- of the message
    message         INTEGER NOT NULL,  -- messages.id
    PRIMARY KEY (mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX entries_by_keywords ON entries (mailbox, keyword_set) WHERE keyword_set <> 0;

-- Entries that have their MODSEQ from a change of flags, as runs of UIDs; the others have it from coming in, in the
-- order of their UIDs (storage/flag_runs.h).
CREATE TABLE flag_runs (
    mailbox INTEGER NOT NULL,  -- mailboxes.id
    first   INTEGER NOT NULL,  -- UID where it begins
    last    INTEGER NOT NULL,  -- UID where it ends
    modseq  INTEGER NOT NULL,  -- entries.modseq of all entries from first to last
    PRIMARY KEY (mailbox, first)
) WITHOUT ROWID;
CREATE INDEX flag_runs_by_modseq ON flag_runs (mailbox, modseq);

-- What QRESYNC must tell: UIDs that are gone and since when.
CREATE TABLE expunged (
    mailbox INTEGER NOT NULL,  -- mailboxes.id
    modseq  INTEGER NOT NULL,  -- of the removal
    uid     INTEGER NOT NULL,  -- what was removed; 0: what was removed up to this modseq is no longer remembered
    PRIMARY KEY (mailbox, modseq, uid)
) WITHOUT ROWID;

-- Removed entries that can still be restored; the body stays referenced until the row goes.
CREATE TABLE deleted_entries (
    account         INTEGER NOT NULL,  -- accounts.id
    deleted_ms      INTEGER NOT NULL,  -- when it was removed
    mailbox         INTEGER NOT NULL,  -- mailboxes.id it lay in; the mailbox itself may be gone
    uid             INTEGER NOT NULL,  -- UID it had there
    mailbox_name    TEXT NOT NULL,     -- name of that mailbox then
    flags           INTEGER NOT NULL,  -- as in entries
    keyword_set     INTEGER NOT NULL,  -- as in entries
    internal_date_s INTEGER NOT NULL,  -- as in entries
    save_date_s     INTEGER NOT NULL,  -- as in entries
    size_octets     INTEGER NOT NULL,  -- as in entries
    message         INTEGER NOT NULL,  -- messages.id
    PRIMARY KEY (account, deleted_ms, mailbox, uid)
) WITHOUT ROWID;
CREATE INDEX deleted_entries_by_time ON deleted_entries (deleted_ms);

-- Removed mailboxes, for as long as what lay in them can be restored; an empty one can come back too.
CREATE TABLE deleted_mailboxes (
    account     INTEGER NOT NULL,  -- accounts.id
    deleted_ms  INTEGER NOT NULL,  -- when it was removed; the same in deleted_entries of what lay in it
    mailbox     INTEGER NOT NULL,  -- mailboxes.id it had
    name        TEXT NOT NULL,     -- its name then
    special_use INTEGER NOT NULL,  -- as in mailboxes
    subscribed  INTEGER NOT NULL,  -- 1: its name was subscribed
    PRIMARY KEY (account, deleted_ms, mailbox)
) WITHOUT ROWID;

-- How long mail stays in a mailbox before it is expunged by itself. The narrowest rule that fits counts.
CREATE TABLE retention_rules (
    scope   TEXT NOT NULL,     -- '' everywhere, 'example.org' a domain, 'alice@example.org' an account
    mailbox TEXT NOT NULL,     -- a mailbox name, or '\Junk', '\Trash', ... for the one with that special use
    days    INTEGER NOT NULL,  -- since the message came into the mailbox (save_date_s); 0: forever
    PRIMARY KEY (scope, mailbox)
) WITHOUT ROWID;

-- Keywords of an account in the spelling first used; compared without regard to ASCII case.
CREATE TABLE keywords (
    account INTEGER NOT NULL,  -- accounts.id
    folded  TEXT NOT NULL,     -- lower case
    name    TEXT NOT NULL,     -- as first spelled
    PRIMARY KEY (account, folded)
) WITHOUT ROWID;

-- Sets of keywords, each kept once; a row never changes.
CREATE TABLE keyword_sets (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- what entries name
    account INTEGER NOT NULL,                   -- accounts.id
    names   TEXT NOT NULL,                      -- sorted, separated by one blank
    UNIQUE (account, names)
);

CREATE TABLE queue_items (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,  -- QueueId, never used twice
    message      INTEGER NOT NULL,                   -- messages.id
    message_id   TEXT NOT NULL,                      -- Message-ID field
    reverse_path TEXT NOT NULL,                      -- '' is the null sender
    envid        TEXT NOT NULL,                      -- RFC 3461 4.4; '' where not given
    ret          INTEGER NOT NULL,                   -- RFC 3461 4.3: 0 not given 1 full 2 headers
    smtputf8     INTEGER NOT NULL,                   -- 1: needs SMTPUTF8 (RFC 6531)
    eight_bit    INTEGER NOT NULL,                   -- 1: has 8-bit octets
    account      INTEGER,                            -- accounts.id of the submitter; NULL: none
    size_octets  INTEGER NOT NULL,                   -- of the message
    created_ms   INTEGER NOT NULL,                   -- when it was accepted
    expires_ms   INTEGER NOT NULL,                   -- when it is given up
    class        INTEGER NOT NULL DEFAULT 0,         -- 0 interactive 1 transactional 2 bulk: its share of a lane
    client       INTEGER,                            -- relay_clients.id that handed it in (the row may be gone); NULL: none
    tls          INTEGER NOT NULL DEFAULT 0,         -- 0 as the destination says 1 REQUIRETLS 2 TLS-Required: No (RFC 8689)
    forwarded_by TEXT NOT NULL DEFAULT '',           -- our domain that passes it on for a sender outside; '' where none does
    stream       TEXT NOT NULL DEFAULT ''            -- streams.name it is of (the row may be gone); '' none
);

CREATE TABLE queue_recipients (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- RecipientId, never used twice
    queue           INTEGER NOT NULL,                   -- queue_items.id
    address         TEXT NOT NULL,                      -- as given, local part's case kept
    domain          TEXT NOT NULL,                      -- lower case
    orcpt           TEXT NOT NULL,                      -- RFC 3461 4.2; '' where not given
    notify          INTEGER NOT NULL,                   -- RFC 3461 4.1 bits: 1 never 2 success 4 failure 8 delay; 0 not given
    state           INTEGER NOT NULL,                   -- 0 waiting 1 sending 2 delivered 3 failed 4 held 5 cancelled
    next_attempt_ms INTEGER NOT NULL,                   -- when it is due, while waiting
    attempts        INTEGER NOT NULL DEFAULT 0,         -- tries begun
    last_reply      TEXT NOT NULL DEFAULT '',           -- what the remote said last, or our own sentence
    last_remote     TEXT NOT NULL DEFAULT '',           -- host and address of the last attempt
    delay_told      INTEGER NOT NULL DEFAULT 0,         -- 1: the sender knows of the delay
    cause           INTEGER NOT NULL DEFAULT 0,         -- why it waits: position in WaitCause (storage/queue.h)
    last_class      TEXT NOT NULL DEFAULT '',           -- what last_reply meant: 'mailbox-full'; '' before an attempt
    lane            INTEGER NOT NULL DEFAULT 0,         -- lanes.id where it waits its turn (the row may be gone); 0: none
    released        INTEGER NOT NULL DEFAULT 0,         -- 1: somebody let it go, no hold of a route keeps it any more
    incident        INTEGER NOT NULL DEFAULT 0,         -- incidents.id it is held under; 0: none
    fault_ms        INTEGER NOT NULL DEFAULT 0          -- since when it is refused for a fault of ours; 0: it is not
);
CREATE INDEX queue_recipients_by_queue ON queue_recipients (queue);
CREATE INDEX queue_recipients_due ON queue_recipients (next_attempt_ms) WHERE state = 0;
CREATE INDEX queue_recipients_by_incident ON queue_recipients (incident, id) WHERE incident <> 0;

-- What is wrong on our side: refusals of our addresses, of our domains' proof, of a login; a listing, a drained address,
-- an account that behaves like a stolen one. Mail that it stops is held under it (queue_recipients.incident).
CREATE TABLE incidents (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- IncidentId, never used twice
    kind        TEXT NOT NULL,                      -- 'ip-blocked', 'sender-auth', ...: IncidentKind (storage/incidents.h)
    way         TEXT NOT NULL,                      -- ways.name, or 'direct'; '' where it is about no way
    source      TEXT NOT NULL,                      -- the local address; '' where the system chose, or it is about none
    site        TEXT NOT NULL,                      -- the site or provider that refuses, or the list that lists; '' everywhere
    domain      TEXT NOT NULL,                      -- of the sender (sender-auth); the account's address (account); the webhook's name (webhook); '' else
    since_ms    INTEGER NOT NULL,                   -- when it began
    last_ms     INTEGER NOT NULL,                   -- when it was seen last
    refusals    INTEGER NOT NULL,                   -- how often
    reply       TEXT NOT NULL,                      -- what was said last, word for word
    remote      TEXT NOT NULL,                      -- by whom
    state       INTEGER NOT NULL,                   -- 0 open 1 over
    cleared_ms  INTEGER NOT NULL DEFAULT 0,         -- when it was over
    cleared_why TEXT NOT NULL DEFAULT '',           -- how that was known: one plain sentence
    probe_ms    INTEGER NOT NULL DEFAULT 0,         -- when one held message tries again; 0: none does
    probes      INTEGER NOT NULL DEFAULT 0,         -- how many have
    told        INTEGER NOT NULL DEFAULT 0          -- mail to the postmaster: 0 none yet 1 of its beginning 2 of its end as well 3 of its end alone
);
CREATE UNIQUE INDEX incidents_open ON incidents (kind, way, source, site, domain) WHERE state = 0;

-- Receipts that senders asked for (NOTIFY=SUCCESS, RFC 3461) and that the relay has not sent yet.
CREATE TABLE receipts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of arrival
    message     INTEGER NOT NULL,                   -- messages.id (the row may be gone)
    message_id  TEXT NOT NULL,                      -- Message-ID field
    sender      TEXT NOT NULL,                      -- reverse-path, who gets it
    envid       TEXT NOT NULL,                      -- RFC 3461 4.4; '' where not given
    tls         INTEGER NOT NULL,                   -- as in queue_items
    accepted_ms INTEGER NOT NULL,                   -- when the message was taken
    recipient   TEXT NOT NULL,                      -- as the sender wrote to it
    orcpt       TEXT NOT NULL,                      -- RFC 3461 4.2; '' where not given
    expanded    INTEGER NOT NULL                    -- 1: an alias with several targets; 0: it lies in a mailbox
);

-- How far mailboxes that collect reports were read (storage/role_mail.h).
CREATE TABLE role_marks (
    mailbox INTEGER PRIMARY KEY,  -- mailboxes.id (the row may be gone)
    uid     INTEGER NOT NULL      -- the last that was read
);

-- Aggregate reports of others on mail in the name of our domains (RFC 7489 7.2).
CREATE TABLE dmarc_reports (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of arrival
    received_ms  INTEGER NOT NULL,                   -- when it was read
    organization TEXT NOT NULL,                      -- who reports
    report_id    TEXT NOT NULL,                      -- as it names itself
    domain       TEXT NOT NULL,                      -- that it is about, lower case
    begin_s      INTEGER NOT NULL,                   -- from
    end_s        INTEGER NOT NULL,                   -- to
    policy       TEXT NOT NULL,                      -- p= that they found
    messages     INTEGER NOT NULL,                   -- all rows together
    passed       INTEGER NOT NULL,                   -- of them aligned by DKIM or SPF
    UNIQUE (organization, report_id, domain)
);
CREATE TABLE dmarc_rows (
    report      INTEGER NOT NULL,  -- dmarc_reports.id
    position    INTEGER NOT NULL,  -- in the report, from 0; the first 1000 are kept
    source_ip   TEXT NOT NULL,     -- who sent
    messages    INTEGER NOT NULL,  -- how many
    disposition TEXT NOT NULL,     -- 'none', 'quarantine', 'reject'
    dkim        INTEGER NOT NULL,  -- 1: aligned
    spf         INTEGER NOT NULL,  -- likewise
    header_from TEXT NOT NULL,     -- domain of From
    dkim_domain TEXT NOT NULL,     -- that signed, and its selector: 'home.example/s1'; ''
    spf_domain  TEXT NOT NULL,     -- that SPF was asked of; ''
    PRIMARY KEY (report, position)
) WITHOUT ROWID;

-- Addresses that get no mail for a while: nobody is there, or somebody wants none (storage/suppression.h).
CREATE TABLE suppressions (
    address   TEXT NOT NULL,                  -- of the recipient, lower case
    scope     TEXT NOT NULL,                  -- whose mail: a domain of senders, the name of a stream; '' everybody's
    reason    TEXT NOT NULL,                  -- 'recipient-unknown', 'recipient-disabled', 'complaint', 'unsubscribed', 'by-hand'
    reply     TEXT NOT NULL,                  -- what it comes from, word for word
    remote    TEXT NOT NULL,                  -- who said it; '' where nobody did
    step      INTEGER NOT NULL,               -- of the ladder: 7, 30, 90 days, for good
    times     INTEGER NOT NULL,               -- that it was said
    since_ms  INTEGER NOT NULL,               -- when this step began
    last_ms   INTEGER NOT NULL,               -- when it was said last
    until_ms  INTEGER NOT NULL,               -- its end; 0: for good
    undone_ms INTEGER NOT NULL DEFAULT 0,     -- when it was undone by hand; 0: it was not
    PRIMARY KEY (address, scope, reason)
) WITHOUT ROWID;

-- What the relay learned about the patience of each site, and how its lane stood when it was last written down.
CREATE TABLE lanes (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,  -- LaneId
    key                TEXT NOT NULL UNIQUE,               -- source address or relay host, and site
    name               TEXT NOT NULL,                      -- the same for people
    state              TEXT NOT NULL,                      -- open, slowed, paused, closed
    why                TEXT NOT NULL,                      -- words of the remote that slowed it; '' where it is not
    waiting            INTEGER NOT NULL,                   -- recipients in it
    window             INTEGER NOT NULL,                   -- connections it may hold
    rate_milli         INTEGER NOT NULL,                   -- thousandths of a transaction a second; 0: no limit
    learned_window     INTEGER NOT NULL,                   -- what the site bore; 0: never refused
    learned_rate_milli INTEGER NOT NULL,                   -- likewise, thousandths of a transaction a second
    spacing            INTEGER NOT NULL,                   -- low 8 bits: windows of clean deliveries between two
                                                           -- probes; above: a day of care (storage/queue_lanes.cpp)
    next_ms            INTEGER NOT NULL,                   -- when it may send again
    updated_ms         INTEGER NOT NULL                    -- when this was written
);

-- Messages that somebody asked to try at once, until the relay has heard of it.
CREATE TABLE queue_kicks (
    queue INTEGER PRIMARY KEY  -- queue_items.id
);

-- The append-only log, clustered by message so that a life reads from neighbouring pages without a second index.
CREATE TABLE events (
    message    INTEGER NOT NULL,  -- messages.id (the row may be gone); 0: about no stored message
    id         INTEGER NOT NULL,  -- unique, grows with time
    at_ms      INTEGER NOT NULL,  -- when it happened
    kind       INTEGER NOT NULL,  -- position in EventKind (storage/events.h)
    queue      INTEGER,           -- queue_items.id (the row may be gone); NULL: none
    message_id TEXT,              -- Message-ID without brackets; NULL: as in an earlier event of the message
    sender     TEXT,              -- reverse-path; NULL: likewise
    recipient  TEXT NOT NULL,     -- '' where it is about the whole message
    detail     TEXT NOT NULL,     -- one plain sentence
    dialogue   TEXT,              -- SMTP lines of an attempt, secrets masked; NULL: none
    facts      TEXT,              -- what reports count it under, tabs between, as EventFacts names them; NULL: none
    PRIMARY KEY (message, id)
) WITHOUT ROWID;
CREATE INDEX events_by_queue ON events (queue) WHERE queue IS NOT NULL;
CREATE INDEX events_by_id ON events (id);

-- Finds events by Message-ID or address. An index over such random keys would dirty a page a message; in buckets of
-- 4096 events the hot part stays a few pages, and a search costs one seek a bucket.
CREATE TABLE event_keys (
    bucket  INTEGER NOT NULL,  -- events.id / 4096
    hash    INTEGER NOT NULL,  -- FNV-1a of the key in lower case, folded to 32 bits; the events themselves are compared afterwards
    message INTEGER NOT NULL,  -- events.message
    event   INTEGER NOT NULL,  -- events.id
    PRIMARY KEY (bucket, hash, message, event)
) WITHOUT ROWID;

-- Messages that named themselves by an idempotency key: the same one a second time queues nothing. The oldest rows go.
CREATE TABLE submission_keys (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of arrival
    owner   TEXT NOT NULL,                      -- whose key: 'a7' accounts.id, 'c3' relay_clients.id
    key     TEXT NOT NULL,                      -- as it was given
    digest  BLOB NOT NULL,                      -- SHA-256 of the request; 'rcpt:...': SMTP
    message INTEGER NOT NULL,                   -- messages.id (the row may be gone)
    queue   INTEGER NOT NULL,                   -- queue_items.id (likewise); 0: it went to mailboxes here only
    answer  TEXT NOT NULL,                      -- what the API said, word for word; '': handed in by SMTP
    made_ms INTEGER NOT NULL,                   -- when
    UNIQUE (owner, key)
);

-- What a program said about its message for later: shown with the message's life, sent to nobody.
CREATE TABLE submission_notes (
    message  INTEGER PRIMARY KEY,  -- messages.id (the row may be gone)
    account  INTEGER NOT NULL,     -- accounts.id in whose name it was handed in
    tags     TEXT NOT NULL,        -- JSON array of strings
    metadata TEXT NOT NULL         -- JSON object of strings
);

-- Kinds of mail that a domain or an account sends.
CREATE TABLE streams (
    name       TEXT PRIMARY KEY,  -- without a dot; a scope of suppressions
    owner      TEXT NOT NULL,     -- a domain, or an account's address
    class      INTEGER NOT NULL,  -- queue_items.class of its mail
    is_list    INTEGER NOT NULL,  -- 1: recipients can unsubscribe in one step (RFC 8058)
    created_ms INTEGER NOT NULL   -- when it was added
) WITHOUT ROWID;

-- Who ever was sent mail of a list: the numbers in the tokens of its unsubscribe addresses.
CREATE TABLE stream_recipients (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice
    stream  TEXT NOT NULL,                      -- streams.name (the row may be gone)
    address TEXT NOT NULL,                      -- lower case
    last_day INTEGER NOT NULL DEFAULT 0,        -- since 1970, UTC: when mail of it was taken for him last, to the month
    UNIQUE (stream, address)
);

-- Where mail was imported from, folder by folder, so that an import can be repeated without duplicates.
CREATE TABLE import_folders (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,  -- ImportFolderId
    account      INTEGER NOT NULL,                   -- accounts.id it goes to
    source       TEXT NOT NULL,                      -- names the source: 'imap://user@host', 'maildir:/path', 'mbox:/path'
    name         TEXT NOT NULL,                      -- the folder there, in its own spelling
    uid_validity INTEGER NOT NULL,                   -- UIDVALIDITY there (RFC 3501 2.3.1.1); 0 for files
    mailbox      INTEGER NOT NULL,                   -- mailboxes.id it goes to
    UNIQUE (account, source, name)
);

-- Each message that was taken over from such a folder.
CREATE TABLE imported (
    folder INTEGER NOT NULL,  -- import_folders.id
    key    TEXT NOT NULL,     -- what names the message there: UID, Maildir name without flags, digest of an mbox message
    uid    INTEGER NOT NULL,  -- entries.uid it got here (it may have been moved or expunged since)
    PRIMARY KEY (folder, key)
) WITHOUT ROWID;

-- Who may use the HTTP API. The token itself is shown once and never kept.
CREATE TABLE api_tokens (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- ApiTokenId
    name       TEXT NOT NULL UNIQUE,               -- how the administrator calls it
    digest     BLOB NOT NULL,                      -- SHA-256 of the token, which is 256 random bits
    created_ms INTEGER NOT NULL,                   -- when it was made
    account    INTEGER,                            -- accounts.id it is confined to; NULL: the whole server
    expires_ms INTEGER,                            -- when it ends; NULL: never
    used_ms    INTEGER                             -- when it was used last, to the hour; NULL: never
);

-- What SCRAM-SHA-256 needs of an account's password (RFC 5802 3): made when the password is set, or at the next login
-- that shows it. The password cannot be read from it.
CREATE TABLE scram_keys (
    account    INTEGER PRIMARY KEY,  -- accounts.id
    salt       BLOB NOT NULL,        -- random
    iterations INTEGER NOT NULL,     -- of PBKDF2
    stored_key BLOB NOT NULL,        -- H(ClientKey)
    server_key BLOB NOT NULL         -- HMAC(SaltedPassword, "Server Key")
);

-- Passwords of single programs: random, shown once, revoked one by one.
CREATE TABLE app_passwords (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- AppPasswordId
    account    INTEGER NOT NULL,                   -- accounts.id
    name       TEXT NOT NULL,                      -- how its owner calls it
    digest     BLOB NOT NULL UNIQUE,               -- SHA-256 of the password, which is 128 random bits or more
    created_ms INTEGER NOT NULL,                   -- when it was made
    used_ms    INTEGER,                            -- when it was used last, to the hour; NULL: never
    salt       BLOB NOT NULL DEFAULT x'',          -- as in scram_keys, and alike for all of an account
    iterations INTEGER NOT NULL DEFAULT 0,         -- as in scram_keys; 0: it cannot be proved by SCRAM
    stored_key BLOB NOT NULL DEFAULT x'',          -- as in scram_keys
    server_key BLOB NOT NULL DEFAULT x'',          -- as in scram_keys
    UNIQUE (account, name)
);

-- IMAP METADATA (RFC 5464).
CREATE TABLE annotations (
    mailbox INTEGER NOT NULL,  -- mailboxes.id; 0: of the server
    account INTEGER NOT NULL,  -- accounts.id of who sees a /private entry; 0: a /shared one
    entry   TEXT NOT NULL,     -- name in lower case without its /private or /shared: '/comment'
    value   BLOB NOT NULL,     -- as it was set
    PRIMARY KEY (mailbox, account, entry)
) WITHOUT ROWID;

-- What others may do with a mailbox (RFC 4314). Its owner's rights are not rows.
CREATE TABLE mailbox_rights (
    mailbox    INTEGER NOT NULL,  -- mailboxes.id
    identifier TEXT NOT NULL,     -- address of an account, or 'anyone' of the owner's domain; behind '-': negative rights
    rights     TEXT NOT NULL,     -- letters of RFC 4314 2.1, sorted
    PRIMARY KEY (mailbox, identifier)
) WITHOUT ROWID;
CREATE INDEX mailbox_rights_by_identifier ON mailbox_rights (identifier);

-- Capabilities that are not offered, for the day a client trips over one.
CREATE TABLE capability_switches (
    account    INTEGER NOT NULL,  -- accounts.id; 0: everyone
    client     TEXT NOT NULL,     -- part of the client's ID name (RFC 2971), lower case; '': any client
    capability TEXT NOT NULL,     -- upper case, as CAPABILITY shows it
    PRIMARY KEY (account, client, capability)
) WITHOUT ROWID;
-- A phone that sees it announced switches it on: not before the operator says so.
INSERT INTO capability_switches VALUES (0, '', 'UIDONLY');

-- MTA-STS policies of other domains (RFC 8461), until they expire.
CREATE TABLE sts_policies (
    domain     TEXT PRIMARY KEY,  -- lower case
    id         TEXT NOT NULL,     -- its edition: id of the TXT record
    policy     TEXT NOT NULL,     -- the file as it was fetched
    fetched_ms INTEGER NOT NULL,  -- when
    expires_ms INTEGER NOT NULL   -- fetched and max_age
) WITHOUT ROWID;

-- What domains at home publish as their MTA-STS policy.
CREATE TABLE sts_served (
    domain  INTEGER PRIMARY KEY,  -- domains.id
    mode    INTEGER NOT NULL,     -- 0 none 1 testing 2 enforce
    edition INTEGER NOT NULL,     -- the id of the TXT record; grows with each change
    mx      TEXT NOT NULL         -- one host a line; '': the server's own name
);

-- How TLS went with other domains, added up, until it was reported to them (RFC 8460).
CREATE TABLE tls_sessions (
    day          INTEGER NOT NULL,  -- since 1970-01-01, UTC
    domain       TEXT NOT NULL,     -- of the recipients
    policy       INTEGER NOT NULL,  -- 0 tlsa 1 sts 2 no policy found
    result       INTEGER NOT NULL,  -- position in TlsResult (protocols/policy/tls_report.h); 0: success
    mx_host      TEXT NOT NULL,     -- '' for successes, and where there were too many kinds of failures
    receiving_ip TEXT NOT NULL,     -- likewise
    sending_ip   TEXT NOT NULL,     -- likewise
    reason       TEXT NOT NULL,     -- what OpenSSL or we said; likewise
    policy_text  TEXT NOT NULL,     -- the policy as it was, one field or TLSA record a line
    mx_patterns  TEXT NOT NULL,     -- mx of an MTA-STS policy, one a line
    sessions     INTEGER NOT NULL,  -- how many
    PRIMARY KEY (day, domain, policy, result, mx_host, receiving_ip, sending_ip, reason)
) WITHOUT ROWID;

-- Reports of others on how TLS with us went (RFC 8460).
CREATE TABLE tls_reports (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of arrival
    received_ms  INTEGER NOT NULL,                   -- when it was read
    organization TEXT NOT NULL,                      -- who reports
    report_id    TEXT NOT NULL,                      -- as it names itself
    domain       TEXT NOT NULL,                      -- the first that it is about
    start_at     TEXT NOT NULL,                      -- RFC 3339
    end_at       TEXT NOT NULL,                      -- likewise
    successes    INTEGER NOT NULL,                   -- sessions, all policies together
    failures     INTEGER NOT NULL,                   -- likewise
    report       TEXT NOT NULL,                      -- JSON; '' where it was longer than 1 MiB
    UNIQUE (organization, report_id)
);

-- What was sent, added up by the day; written in the commit of the events, and made anew of them by
-- posthouse report --rebuild. So many rows a day are told apart (storage/report_tally.h); what comes beyond is '*'.
CREATE TABLE report_rows (
    id          INTEGER PRIMARY KEY,  -- in order of writing
    day         INTEGER NOT NULL,     -- since 1970, UTC
    who         TEXT NOT NULL,        -- 'a7' the account, 'c3' the relay client that handed it in; '' nobody here
    domain      TEXT NOT NULL,        -- of the sender; '' of reports, which have none
    destination TEXT NOT NULL,        -- domain of the recipient
    provider    TEXT NOT NULL,        -- who keeps the recipient's mail: 'google', 'other'; '' before it is known
    way         TEXT NOT NULL,        -- ways.name, or 'direct'; '' before one was chosen
    source      TEXT NOT NULL,        -- the local address; '' where the system chose
    UNIQUE (day, who, domain, destination, provider, way, source)
);
CREATE TABLE report_counts (
    row   INTEGER NOT NULL,  -- report_rows.id
    what  INTEGER NOT NULL,  -- position in Figure (storage/report.h); from 100 on: deliveries by the time they took
    class TEXT NOT NULL,     -- of bounces: 'recipient-unknown'; '' else
    n     INTEGER NOT NULL,  -- how many
    PRIMARY KEY (row, what, class)
) WITHOUT ROWID;

-- Who is told of events over HTTPS.
CREATE TABLE webhooks (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,  -- WebhookId, never used twice
    name          TEXT NOT NULL UNIQUE,               -- how the administrator calls it
    url           TEXT NOT NULL,                      -- where it listens
    sealed_secret BLOB NOT NULL,                      -- what signs, sealed, purpose "webhook"
    kinds         TEXT NOT NULL,                      -- of events, blanks between: 'delivered bounced'; '' all
    domain        TEXT NOT NULL,                      -- only what this domain of ours sends; '' all
    who           TEXT NOT NULL,                      -- only what this account or client sends: 'a7', 'c3'; '' all
    batch         INTEGER NOT NULL,                   -- events a POST; more than 1: as an array
    ca_file       TEXT NOT NULL,                      -- trust anchors; '' the system's
    state         INTEGER NOT NULL DEFAULT 0,         -- 0 active 1 paused by hand 2 given up
    cursor        INTEGER NOT NULL,                   -- events.id up to which it has been told
    until         INTEGER NOT NULL DEFAULT 0,         -- events.id up to which the POST under way goes; 0: none is
    tries         INTEGER NOT NULL DEFAULT 0,         -- of it that failed
    next_ms       INTEGER NOT NULL DEFAULT 0,         -- when it is tried again
    failing_ms    INTEGER NOT NULL DEFAULT 0,         -- since when; 0: it is not
    told          INTEGER NOT NULL DEFAULT 0,         -- events that it took
    last_ms       INTEGER NOT NULL DEFAULT 0,         -- when it answered last
    last_answer   TEXT NOT NULL DEFAULT '',           -- what
    created_ms    INTEGER NOT NULL,                   -- when it was added
    sealed_old    BLOB NOT NULL DEFAULT '',           -- the secret before, sealed likewise: signs too; '' none
    old_until_ms  INTEGER NOT NULL DEFAULT 0          -- until then
);

-- Where mail goes, and since when nothing arrives there: what "mail to X has stopped" is judged by.
CREATE TABLE destinations (
    place      TEXT PRIMARY KEY,    -- 'google', a domain, 'way NAME' for a relay's way; '' everywhere
    ok_ms      INTEGER NOT NULL,    -- when something arrived there last, to the quarter of an hour; 0: not yet
    failing_ms INTEGER NOT NULL,    -- the first try after that which did not get through; 0: none
    tries      INTEGER NOT NULL,    -- since then
    recipients BLOB NOT NULL,       -- of these tries: a sketch (storage/distinct.h)
    incident   INTEGER NOT NULL DEFAULT 0  -- incidents.id that says it has stopped; 0: none
) WITHOUT ROWID;

-- What went to places that the figures of their day count among the others: the baseline of their alarm.
CREATE TABLE place_days (
    place     TEXT NOT NULL,     -- destinations.place
    day       INTEGER NOT NULL,  -- since 1970, UTC
    delivered INTEGER NOT NULL,  -- recipients
    tried     INTEGER NOT NULL,  -- likewise, deliveries included
    PRIMARY KEY (place, day)
) WITHOUT ROWID;
