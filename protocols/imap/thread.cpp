#include "protocols/imap/thread.h"

#include <algorithm>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "protocols/mime/text.h"

namespace posthouse::imap {

namespace {

constexpr std::size_t kTextOverhead = 64;  // of a text in a map, about

}  // namespace

Result<ThreadAlgorithm> take_thread_algorithm(Cursor& in) {
    TRY(const std::string name, take_atom(in));
    if (ascii::equals_ci(name, "REFERENCES")) return ThreadAlgorithm::references;
    if (ascii::equals_ci(name, "ORDEREDSUBJECT")) return ThreadAlgorithm::ordered_subject;
    return Error(Errc::invalid, "Unknown THREAD algorithm");
}

// ---- taking messages

void Threader::add(const ThreadMessage& message) {
    const mime::BaseSubject subject = mime::read_subject(message.subject);
    Message kept;
    kept.number = message.number;
    kept.sent_ms = message.sent_ms;
    kept.subject = subject_of(subject.text);
    kept.reply = subject.is_reply;
    messages_.push_back(kept);
    octets_ += sizeof(Message) + sizeof(Node);
    if (algorithm_ == ThreadAlgorithm::references) add_references(message);
}

std::uint32_t Threader::subject_of(std::string_view base) {
    if (base.empty()) return 0;
    const auto [at, fresh] =
        subjects_.try_emplace(mime::collation_key(base), static_cast<std::uint32_t>(subjects_.size() + 1));
    if (fresh) octets_ += at->first.size() + kTextOverhead;
    return at->second;
}

Threader::Index Threader::node_of(const std::string& id) {
    const auto [at, fresh] = ids_.try_emplace(id, static_cast<Index>(nodes_.size()));
    if (fresh) {
        nodes_.emplace_back();
        octets_ += id.size() + kTextOverhead + sizeof(Node);
    }
    return at->second;
}

// Whether `node` is `of` or above it. What is too far away to be sure counts too: then no link is made.
bool Threader::is_ancestor(Index of, Index node) const {
    if (of == node) return true;
    if (!nodes_[static_cast<std::size_t>(node)].has_children) return false;
    std::size_t steps = 0;
    for (; of != kNone; of = nodes_[static_cast<std::size_t>(of)].parent) {
        if (of == node || ++steps > kAncestorsMax) return true;
    }
    return false;
}

void Threader::link(Index parent, Index child) {
    nodes_[static_cast<std::size_t>(child)].parent = parent;
    nodes_[static_cast<std::size_t>(parent)].has_children = true;
}

// Step 1 of RFC 5256 3, REFERENCES.
void Threader::add_references(const ThreadMessage& message) {
    Index self = kNone;
    if (!message.message_id.empty()) {
        self = node_of(message.message_id);
        // A second message of the same id is known by none.
        if (nodes_[static_cast<std::size_t>(self)].message != kNone) self = kNone;
    }
    if (self == kNone) {
        self = static_cast<Index>(nodes_.size());
        nodes_.emplace_back();
    }
    nodes_[static_cast<std::size_t>(self)].message = static_cast<Index>(messages_.size() - 1);
    // (A) the references among themselves: links that stand are left.
    Index before = kNone;
    for (const std::string& id : message.references) {
        const Index node = node_of(id);
        const bool free = nodes_[static_cast<std::size_t>(node)].parent == kNone;
        if (before != kNone && free && !is_ancestor(before, node)) link(before, node);
        before = node;
    }
    // (B) the last of them is the parent, whatever was thought before.
    nodes_[static_cast<std::size_t>(self)].parent = kNone;
    if (before != kNone && !is_ancestor(before, self)) link(before, self);
}

// ---- the tree

std::vector<Threader::Index> Threader::children_of(Index node) const {
    std::vector<Index> out;
    for (Index child = nodes_[static_cast<std::size_t>(node)].first_child; child != kNone;) {
        out.push_back(child);
        child = nodes_[static_cast<std::size_t>(child)].next;
    }
    return out;
}

void Threader::set_children(Index node, const std::vector<Index>& children) {
    Index next = kNone;
    for (auto child = children.rbegin(); child != children.rend(); ++child) {
        nodes_[static_cast<std::size_t>(*child)].next = next;
        next = *child;
    }
    nodes_[static_cast<std::size_t>(node)].first_child = next;
}

void Threader::adopt(Index parent, Index child) {
    Node& of = nodes_[static_cast<std::size_t>(parent)];
    nodes_[static_cast<std::size_t>(child)].next = of.first_child;
    of.first_child = child;
}

// The message that a node shows: its own, or of a dummy that of its first child.
const Threader::Message& Threader::face_of(Index node) const {
    const Node* shown = &nodes_[static_cast<std::size_t>(node)];
    while (shown->message == kNone) shown = &nodes_[static_cast<std::size_t>(shown->first_child)];
    return messages_[static_cast<std::size_t>(shown->message)];
}

// By sent date, then by place in the mailbox (RFC 5256 2.2).
bool Threader::earlier(Index a, Index b) const {
    const Message& left = face_of(a);
    const Message& right = face_of(b);
    if (left.sent_ms != right.sent_ms) return left.sent_ms < right.sent_ms;
    return &left < &right;
}

void Threader::sort_nodes(std::vector<Index>& nodes) const {
    std::ranges::sort(nodes, [this](Index a, Index b) { return earlier(a, b); });
}

// Steps 2 and 3: dummies go, their children move up to the nearest message; a dummy at the top stays where it holds
// more than one together. Gives back what then stands at the top.
std::vector<Threader::Index> Threader::prune() {
    const auto count = static_cast<Index>(nodes_.size());
    const auto at = [this](Index node) -> Node& { return nodes_[static_cast<std::size_t>(node)]; };
    // Where a dummy's children go: the nearest message above, else the dummy at the top. Remembered on the way.
    std::vector<Index> above(nodes_.size(), kNone);
    std::vector<Index> path;
    const auto resolve = [&](Index node) {
        path.clear();
        Index to = node;
        while (at(to).message == kNone && at(to).parent != kNone) {
            if (above[static_cast<std::size_t>(to)] != kNone) {
                to = above[static_cast<std::size_t>(to)];
                break;
            }
            path.push_back(to);
            to = at(to).parent;
        }
        for (const Index passed : path) above[static_cast<std::size_t>(passed)] = to;
        return to;
    };
    std::vector<Index> roots;
    for (Index node = count; node-- > 0;) {
        if (at(node).parent == kNone)
            roots.push_back(node);
        else if (at(node).message != kNone)
            adopt(resolve(at(node).parent), node);
    }
    std::erase_if(roots, [&](Index root) { return at(root).message == kNone && at(root).first_child == kNone; });
    for (Index& root : roots) {
        if (at(root).message != kNone) continue;
        const Index only = at(root).first_child;
        if (at(only).next == kNone) root = only;
    }
    return roots;
}

// Every set of siblings below the top, by date.
void Threader::sort_all() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const Index first = nodes_[i].first_child;
        if (first == kNone || nodes_[static_cast<std::size_t>(first)].next == kNone) continue;
        std::vector<Index> children = children_of(static_cast<Index>(i));
        sort_nodes(children);
        set_children(static_cast<Index>(i), children);
    }
}

// Step 5: threads of one subject become one.
void Threader::merge_subjects(std::vector<Index>& roots) {
    const auto is_dummy = [this](Index node) { return nodes_[static_cast<std::size_t>(node)].message == kNone; };
    std::unordered_map<std::uint32_t, Index> table;
    for (const Index root : roots) {
        const Message& face = face_of(root);
        if (face.subject == 0) continue;
        const auto [at, fresh] = table.try_emplace(face.subject, root);
        if (fresh || is_dummy(at->second)) continue;
        if (is_dummy(root) || (face_of(at->second).reply && !face.reply)) at->second = root;
    }
    std::vector<Index> kept;
    std::unordered_map<Index, Index> replaced;  // what stood at the top: the dummy that took its place
    for (const Index root : roots) {
        const Message face = face_of(root);
        if (face.subject == 0 || table.at(face.subject) == root || replaced.contains(root)) {
            kept.push_back(root);
            continue;
        }
        Index& chosen = table.at(face.subject);
        if (is_dummy(root)) {  // then the chosen one is a dummy too
            for (const Index child : children_of(root)) adopt(chosen, child);
        } else if (is_dummy(chosen) || (face.reply && !face_of(chosen).reply)) {
            adopt(chosen, root);
        } else {
            const auto both = static_cast<Index>(nodes_.size());
            nodes_.emplace_back();
            replaced[chosen] = both;
            adopt(both, root);
            adopt(both, chosen);
            chosen = both;
        }
    }
    // The chosen message may stand before or behind those that joined it.
    for (Index& root : kept) {
        if (const auto dummy = replaced.find(root); dummy != replaced.end()) root = dummy->second;
    }
    roots = std::move(kept);
}

// Poor man's threading: the first of a subject, and all others as its children.
std::vector<Threader::Index> Threader::ordered_by_subject() {
    std::vector<Index> all;
    for (std::size_t i = 0; i < messages_.size(); ++i) {
        Node node;
        node.message = static_cast<Index>(i);
        nodes_.push_back(node);
        all.push_back(static_cast<Index>(i));
    }
    sort_nodes(all);
    std::unordered_map<std::uint32_t, std::vector<Index>> of_subject;
    std::vector<Index> roots;
    for (const Index node : all) {
        std::vector<Index>& thread = of_subject[face_of(node).subject];
        if (thread.empty()) roots.push_back(node);
        thread.push_back(node);
    }
    for (auto& [subject, thread] : of_subject) {
        const Index first = thread.front();
        thread.erase(thread.begin());
        set_children(first, thread);
    }
    return roots;
}

// thread-list = "(" (thread-members / thread-nested) ")"
void Threader::write(std::string& out, Index root) const {
    struct Step {
        Index node = kNone;  // kNone: a parenthesis to close
        bool opens = false;
    };
    std::vector<Step> steps = {{root, true}};
    while (!steps.empty()) {
        const Step step = steps.back();
        steps.pop_back();
        if (step.node == kNone) {
            out += ')';
            continue;
        }
        if (step.opens) {
            out += '(';
            steps.push_back({});
        }
        const Node& node = nodes_[static_cast<std::size_t>(step.node)];
        if (node.message != kNone) append_number(out, messages_[static_cast<std::size_t>(node.message)].number);
        if (node.first_child == kNone) continue;
        if (node.message != kNone) out += ' ';
        const std::vector<Index> children = children_of(step.node);
        const bool splits = children.size() > 1;
        for (auto child = children.rbegin(); child != children.rend(); ++child) steps.push_back({*child, splits});
    }
}

std::string Threader::finish() {
    std::vector<Index> roots;
    if (algorithm_ == ThreadAlgorithm::ordered_subject) {
        roots = ordered_by_subject();
    } else {
        roots = prune();
        sort_all();
        sort_nodes(roots);
        merge_subjects(roots);
        sort_all();
        sort_nodes(roots);
    }
    std::string out;
    if (!roots.empty()) out += ' ';
    for (const Index root : roots) write(out, root);
    return out;
}

}  // namespace posthouse::imap
