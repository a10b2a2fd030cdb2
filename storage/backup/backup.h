#pragma once
/// storage/backup: copies of the whole store in a directory of their own, that can be trusted.
///
///   create:  the store, while it is in use -> one more backup in the repository; what is there already is not copied
///   verify:  every hash, the database, every message of a backup -> what is wrong, by name
///   restore: a backup -> a new data directory, or messages of one account -> the running store
/// The repository's format is in backup_format.md.
/// Invariants  1. A backup holds everything acknowledged before create() began: it is one snapshot of mail.db and the
///                octets that this snapshot names.
///             2. A cut at any moment leaves all earlier backups as they were (repository.h).
///             3. Damage in the store never stops create(), damage in a backup never stops verify() or the restoring
///                of other messages: it is named and counted.
///             4. Writers of the store wait for none of this.
/// Errors: one plain sentence each; cancelled where `stop` said so.
/// Threads: each call belongs to the thread it is made on; the store may be in use by others.
/// Memory: a few objects of 8 MiB, and the manifests.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/backup/retention.h"
#include "storage/store.h"

namespace posthouse::storage::backup {

/// How the caller looks on.
struct Watch {
    /// Octets done, of how many, and what is at hand.
    std::function<void(std::uint64_t done, std::uint64_t total, const std::string& what)> progress;
    /// True: end soon, with Errc::cancelled.
    std::function<bool()> stop;

    void show(std::uint64_t done, std::uint64_t total, const std::string& what) const {
        if (progress) progress(done, total, what);
    }
    Result<> check() const {
        if (!stop || !stop()) return {};
        return Error(Errc::cancelled, "stopped before it was done; what was there before is untouched");
    }
};

/// Where the repository is and the key that opens it.
struct Target {
    std::string directory;
    std::string key;  ///< 32 octets from read_key(); "": the repository is not encrypted
};

/// Makes an empty repository; see Repository::init().
Result<> init(const Target& target);
/// A new key file (0600); the octets of one.
Result<> make_key(const std::string& path);
Result<std::string> read_key(const std::string& path);

/// Sentences, the first kSentencesMax of them, and how many there were.
struct Findings {
    static constexpr std::size_t kSentencesMax = 1000;
    std::vector<std::string> sentences;
    std::uint64_t count = 0;

    void add(std::string sentence) {
        ++count;
        if (sentences.size() < kSentencesMax) sentences.push_back(std::move(sentence));
    }
};

// ---- create

/// A file beside the store that goes with it.
struct ExtraFile {
    std::string name;  ///< in the backup
    std::string path;
};

struct CreateOptions {
    std::string hostname;
    std::string config_file;  ///< copied along; "": none
    /// Takes the sealing key and DATA/tls along though the repository is not encrypted.
    bool keys_in_clear = false;
    Keep keep;
};

struct Created {
    std::string name;
    std::uint64_t files = 0;
    std::uint64_t octets = 0;          ///< of all files together
    std::uint64_t octets_read = 0;     ///< of them, read this time
    std::uint64_t octets_written = 0;  ///< to the target
    std::uint64_t messages = 0;
    Milliseconds snapshot_held{};      ///< how long mail.db's snapshot was open
    bool has_keys = false;             ///< the sealing key is in it
    Findings damage;                   ///< what is damaged in the store itself
    std::vector<std::string> removed;  ///< older backups that went
    std::uint64_t octets_freed = 0;
    std::string not_removed;  ///< why nothing could be removed; "" where all is well
};

Result<Created> create(Store& store, const Target& target, const CreateOptions& options, const Watch& watch);

// ---- list

struct Listed {
    std::string name;
    Time created{};
    std::string hostname;
    std::uint64_t messages = 0;
    std::uint64_t octets = 0;
    std::uint64_t damage = 0;  ///< sentences about the store itself
    bool has_keys = false;
    std::optional<Time> verified;
    std::uint64_t faults = 0;  ///< that the last verify found
    std::string unreadable;    ///< why the manifest cannot be read; then only `name` and `created` count
};

/// Oldest first.
Result<std::vector<Listed>> list(const Target& target);
/// When the newest backup was made and the newest good one was verified, from names and small files alone.
struct Ages {
    std::optional<Time> newest;
    std::optional<Time> verified_good;  ///< when that one was made
};
Result<Ages> ages(const Target& target);

// ---- verify

struct Verified {
    std::string name;
    std::uint64_t octets = 0;
    std::uint64_t messages = 0;  ///< whose octets were checked
    Findings faults;             ///< what is wrong with the backup
    Findings known;              ///< what was damaged in the store when the backup was made
};

/// `backup`: a name, the beginning of one, or "" for the newest. `scratch`: a directory of ours for a copy of mail.db.
Result<Verified> verify(const Target& target, const std::string& backup, const std::string& scratch,
                        const Watch& watch);

// ---- restore

struct RestoreOptions {
    /// A move to another machine, nothing has happened since: UIDVALIDITY stays and the queue goes on.
    bool as_it_was = false;
    std::string sealing_key_file;  ///< for a backup without the key
};

struct Restored {
    std::string name;
    std::uint64_t octets = 0;
    std::uint64_t messages = 0;
    std::uint64_t held = 0;   ///< recipients in the queue that wait for a release
    bool key_made = false;    ///< no sealing key was there: relay passwords and DKIM keys cannot be opened
    std::string config_file;  ///< where the configuration was put; "": none was in the backup
    Findings lost;
};

/// Errc::already_exists where `data` holds something.
Result<Restored> restore(const Target& target, const std::string& backup, const std::string& data,
                         const RestoreOptions& options, const Watch& watch);

struct MailSelection {
    std::string account;
    std::string mailbox = {};   ///< "": all
    std::string message = {};   ///< UID (with a mailbox) or Message-ID; "": all
    std::string into = {};      ///< target mailbox, where several are restored the parent of all; "": their own names
    bool only_missing = false;  ///< leaves out what the account has in any mailbox, not just in the target
};

struct RestoredMail {
    std::string name;
    std::uint64_t messages = 0;
    std::uint64_t there = 0;  ///< left out: the mailbox has them
    bool account_made = false;
    std::vector<std::string> mailboxes;  ///< that got something
    Findings lost;
};

Result<RestoredMail> restore_mail(Store& store, const Target& target, const std::string& backup,
                                  const MailSelection& selection, const std::string& scratch, const Watch& watch);

}  // namespace posthouse::storage::backup
