#pragma once
/// protocols/imap/thread: THREAD=ORDEREDSUBJECT and THREAD=REFERENCES (RFC 5256 3). Pure: messages in by number, the
/// text of the THREAD response out.
/// Invariants  1. Each message that was added stands in the response once; the tree has no loop.
///             2. Nothing recurses: a thread may be as deep as a mailbox is long.
/// Limits: kAncestorsMax bounds what one message may cost; a Threader tells its memory, its user bounds it.
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocols/base/cursor.h"
#include "protocols/base/result.h"

namespace posthouse::imap {

enum class ThreadAlgorithm { ordered_subject, references };
/// thread-alg. Errc::invalid for one that is not offered.
Result<ThreadAlgorithm> take_thread_algorithm(Cursor& in);

struct ThreadMessage {
    std::uint32_t number = 0;             ///< as the response names it: message number or UID
    std::int64_t sent_ms = 0;             ///< of the Date field, else INTERNALDATE (RFC 5256 2.2)
    std::string_view subject;             ///< raw
    std::string message_id;               ///< as mime::message_ids() reads it; empty: it has none
    std::vector<std::string> references;  ///< likewise; of References, else the first of In-Reply-To
};

class Threader {
 public:
    explicit Threader(ThreadAlgorithm algorithm) : algorithm_(algorithm) {}
    ThreadAlgorithm algorithm() const { return algorithm_; }
    /// In the order of the mailbox.
    void add(const ThreadMessage& message);
    /// Memory held, about.
    std::size_t octets() const { return octets_; }
    /// " (2)(3 6 (4 23)(44 7 96))", or nothing where there is no message. Once, at the end.
    std::string finish();

 private:
    using Index = std::int32_t;
    static constexpr Index kNone = -1;
    static constexpr std::size_t kAncestorsMax = 4096;

    struct Message {
        std::uint32_t number = 0;
        std::int64_t sent_ms = 0;
        std::uint32_t subject = 0;  // index of the base subject; 0: empty
        bool reply = false;
    };
    /// A message, or a dummy for one that is only referred to or holds a group together.
    struct Node {
        Index parent = kNone;
        Index message = kNone;  // kNone: dummy
        Index first_child = kNone;
        Index next = kNone;  // sibling
        bool has_children = false;
    };

    std::uint32_t subject_of(std::string_view base);
    Index node_of(const std::string& id);
    bool is_ancestor(Index of, Index node) const;
    void link(Index parent, Index child);
    void add_references(const ThreadMessage& message);

    bool earlier(Index a, Index b) const;
    void sort_nodes(std::vector<Index>& nodes) const;
    std::vector<Index> children_of(Index node) const;
    void set_children(Index node, const std::vector<Index>& children);
    void adopt(Index parent, Index child);
    std::vector<Index> prune();
    void sort_all();
    const Message& face_of(Index node) const;
    void merge_subjects(std::vector<Index>& roots);
    std::vector<Index> ordered_by_subject();
    void write(std::string& out, Index root) const;

    ThreadAlgorithm algorithm_;
    std::vector<Message> messages_;
    std::vector<Node> nodes_;
    std::unordered_map<std::string, std::uint32_t> subjects_;
    std::unordered_map<std::string, Index> ids_;
    std::size_t octets_ = 0;
};

}  // namespace posthouse::imap
