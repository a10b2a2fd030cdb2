#pragma once
/// relay/message: a queued message as it goes out: without a leading Return-Path (RFC 5321 4.4), every line end CRLF,
/// DKIM signatures on top. Up to kWholeOctets it is held in memory, beyond that it is read piece by piece.
/// Threads: load_message blocks (segments, signing): through net::offload. The object itself: the loop's.
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/crypto/crypto.h"
#include "protocols/mailauth/dkim.h"
#include "protocols/net/offload.h"
#include "relay/arc_seal.h"
#include "relay/client.h"
#include "relay/header_edit.h"
#include "storage/store.h"

namespace posthouse::relay {

inline constexpr std::uint64_t kWholeOctets = 1024 * 1024;
inline constexpr std::uint64_t kPieceOctets = 256 * 1024;
inline constexpr std::uint64_t kHeaderOctetsMax = 1024 * 1024;

/// Each bare CR and each bare LF becomes CRLF, across pieces.
class LineEnds {
 public:
    void append(std::string& out, std::string_view piece);
    /// A CR at the very end gets its LF.
    void finish(std::string& out);

 private:
    bool after_cr_ = false;
};

/// Opened signing keys by id; a key is unsealed and parsed once. Threads: any.
class KeyCache {
 public:
    /// Null where the key cannot be opened (said in the log).
    std::shared_ptr<const crypto::SigningKey> get(const storage::DkimKey& key, const std::string& sealing_key);

 private:
    std::mutex mutex_;
    std::map<storage::DkimKeyId, std::shared_ptr<const crypto::SigningKey>> keys_;
};

/// A message ready to go. Each send makes its own source.
struct OutgoingMessage {
    std::string header;      ///< header block with its empty line, as it will be sent, without our signatures
    std::string signatures;  ///< "DKIM-Signature: ..." fields, above them those of ARC
    std::string body;        ///< where the message is small; else empty and `reader` is used
    std::shared_ptr<const storage::BodyReader> reader;
    std::uint64_t body_at = 0;  ///< offset of the body in `reader`
    bool utf8_header = false;

    std::uint64_t size_octets() const;
    OutgoingMessage() = default;
};
using OutgoingMessagePtr = std::shared_ptr<const OutgoingMessage>;

/// What a message is signed with. All outlive the call.
struct Signing {
    const std::vector<storage::DkimKey>& known;  ///< as of the snapshot
    KeyCache& keys;
    const std::string& sealing_key;
};

/// How it is edited, signed and sealed.
struct MessageWish {
    HeaderEdit edit;  ///< as the way wants it
    ArcWish arc;
    std::string sender;                  ///< whose domain chooses the key where the From domain has none
    mailauth::SigningEnvelope envelope;  ///< that it leaves with
    bool is_ours = true;  ///< a login, a client or this server wrote it; else the author's keys do not vouch for it
    MessageWish() = default;
};

/// Reads, edits the header, signs, and seals where that is wished.
Result<OutgoingMessagePtr> load_message(const storage::Snapshot& snapshot, const storage::QueueItem& item,
                                        const Signing& signing, Time now, const MessageWish& wish);
/// The same for octets that are in no queue.
Result<OutgoingMessagePtr> finish_message(std::string_view octets, const Signing& signing, Time now,
                                          const MessageWish& wish);

std::unique_ptr<MessageSource> make_source(OutgoingMessagePtr message, net::ThreadPool& pool, net::Loop& loop);

/// Octets of a Return-Path field (with its folded lines) at the very start of `message`, or 0.
std::size_t leading_return_path(std::string_view message);

}  // namespace posthouse::relay
