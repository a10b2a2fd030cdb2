#include "relay/message.h"

#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/mailauth/dkim.h"
#include "protocols/mime/address.h"
#include "protocols/mime/header.h"
#include "storage/route_match.h"

namespace posthouse::relay {

namespace {

// Each CR has its LF and each LF its CR, as in nearly all mail. Counted without branches and in small numbers: the
// compiler compares sixteen octets at once.
bool has_clean_ends(std::string_view text) {
    constexpr std::size_t kBlock = 255;
    std::size_t returns = 0;
    std::size_t feeds = 0;
    std::size_t both = 0;
    const std::size_t pairs = text.empty() ? 0 : text.size() - 1;
    for (std::size_t from = 0; from < pairs; from += kBlock) {
        const char* const at = text.data() + from;
        const std::size_t count = std::min(kBlock, pairs - from);
        std::uint8_t some_returns = 0;
        std::uint8_t some_feeds = 0;
        std::uint8_t some_both = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint8_t is_return = at[i] == '\r' ? 1 : 0;
            const std::uint8_t feeds_next = at[i + 1] == '\n' ? 1 : 0;
            some_returns = static_cast<std::uint8_t>(some_returns + is_return);
            some_feeds = static_cast<std::uint8_t>(some_feeds + feeds_next);
            some_both = static_cast<std::uint8_t>(some_both + (is_return & feeds_next));
        }
        returns += some_returns;
        feeds += some_feeds;
        both += some_both;
    }
    return !text.empty() && text.front() != '\n' && text.back() != '\r' && returns == both && feeds == both;
}

}  // namespace

void LineEnds::append(std::string& out, std::string_view piece) {
    if (!after_cr_ && has_clean_ends(piece)) {
        out.append(piece);
        return;
    }
    for (const char c : piece) {
        if (after_cr_ && c != '\n') out.push_back('\n');
        if (c == '\n' && !after_cr_) out.push_back('\r');
        out.push_back(c);
        after_cr_ = c == '\r';
    }
}

void LineEnds::finish(std::string& out) {
    if (after_cr_) out.push_back('\n');
    after_cr_ = false;
}

std::shared_ptr<const crypto::SigningKey> KeyCache::get(const storage::DkimKey& key, const std::string& sealing_key) {
    const std::lock_guard lock(mutex_);
    if (const auto found = keys_.find(key.id); found != keys_.end()) return found->second;
    const auto pem = crypto::unseal(sealing_key, "dkim", key.sealed_pem);
    if (!pem) {
        log::error("relay", "the DKIM key {} of {} cannot be opened: {}", key.selector, key.domain_name,
                   pem.error().context);
        return nullptr;
    }
    const auto algorithm = key.algorithm == "ed25519-sha256" ? crypto::SigningAlgorithm::ed25519_sha256
                                                             : crypto::SigningAlgorithm::rsa_sha256;
    auto parsed = crypto::SigningKey::from_pem(algorithm, *pem);
    if (!parsed) {
        log::error("relay", "the DKIM key {} of {} cannot be read: {}", key.selector, key.domain_name,
                   parsed.error().context);
        return nullptr;
    }
    return keys_.emplace(key.id, std::make_shared<crypto::SigningKey>(*std::move(parsed))).first->second;
}

std::uint64_t OutgoingMessage::size_octets() const {
    const std::uint64_t rest = reader ? reader->size_octets() - body_at : body.size();
    return signatures.size() + header.size() + rest;
}

std::size_t leading_return_path(std::string_view message) {
    if (!ascii::starts_with_ci(message, "Return-Path:")) return 0;
    std::size_t end = message.find('\n');
    while (end != std::string_view::npos && end + 1 < message.size() && ascii::is_space(message[end + 1])) {
        end = message.find('\n', end + 1);
    }
    return end == std::string_view::npos ? message.size() : end + 1;
}

namespace {

// The body of a message, piece by piece with clean line ends; blocking. "" at the end.
class BodyPieces {
 public:
    explicit BodyPieces(const OutgoingMessage& message) : message_(message), at_(message.body_at) {}

    Result<std::string_view> next() {
        if (!message_.reader) {
            const std::string_view out = done_ ? std::string_view() : std::string_view(message_.body);
            done_ = true;
            return out;
        }
        piece_.clear();
        while (piece_.empty() && !done_) {
            TRY(const std::string raw, message_.reader->read(at_, kPieceOctets));
            at_ += raw.size();
            ends_.append(piece_, raw);
            if (raw.empty()) {
                ends_.finish(piece_);
                done_ = true;
            }
        }
        return std::string_view(piece_);
    }

 private:
    const OutgoingMessage& message_;
    std::uint64_t at_;
    LineEnds ends_;
    std::string piece_;
    bool done_ = false;
};

// The active keys of the author's domain or of the next domain above it that has some: aligned as DMARC wants it.
std::vector<storage::DkimKey> keys_for(const std::vector<storage::DkimKey>& all, std::string_view domain) {
    std::vector<storage::DkimKey> out;
    while (out.empty() && domain.contains('.')) {
        std::ranges::copy_if(all, std::back_inserter(out), [&](const storage::DkimKey& key) {
            return key.active && ascii::equals_ci(key.domain_name, domain);
        });
        domain.remove_prefix(domain.find('.') + 1);
    }
    return out;
}

std::string author_domain(std::string_view header) {
    const mime::Fields fields = mime::parse_fields(header);
    const auto from = mime::find_first(fields, "From");
    if (!from) return "";
    for (const mime::Address& address : mime::parse_address_list(*from)) {
        if (address.kind == mime::Address::Kind::mailbox) return ascii::to_lower(address.domain);
    }
    return "";
}

mailauth::MessageSource source_of(const OutgoingMessage& message, BodyPieces& body) {
    mailauth::MessageSource source;
    source.header_block = message.header;
    source.next_piece = [&body] { return body.next(); };
    return source;
}

Result<std::string> sign(const OutgoingMessage& message, const std::vector<storage::DkimKey>& all,
                         const MessageWish& wish, KeyCache& cache, const std::string& sealing_key, Time now) {
    if (!wish.is_ours) return std::string();
    std::vector<storage::DkimKey> chosen = keys_for(all, author_domain(message.header));
    if (chosen.empty()) chosen = keys_for(all, storage::address_domain(wish.sender));
    std::vector<std::shared_ptr<const crypto::SigningKey>> held;
    std::vector<mailauth::DkimSigner> signers;
    for (const storage::DkimKey& key : chosen) {
        held.push_back(cache.get(key, sealing_key));
        if (!held.back()) continue;
        mailauth::DkimSigner signer;
        signer.domain = key.domain_name;
        signer.selector = key.selector;
        signer.key = held.back().get();
        signers.push_back(std::move(signer));
    }
    if (signers.empty()) return std::string();
    BodyPieces body(message);
    return mailauth::sign_dkim(signers, source_of(message, body), wish.envelope, now);
}

// "" where there is nothing to say, or no key to say it with.
Result<std::string> seal(const OutgoingMessage& message, const std::vector<storage::DkimKey>& all, const ArcWish& arc,
                         KeyCache& cache, const std::string& sealing_key, Time now) {
    const auto verdict = find_verdict(message.header, arc.authserv_id);
    std::vector<storage::DkimKey> chosen = keys_for(all, arc.domain);
    if (!verdict || chosen.empty()) return std::string();
    // One seal a hop, and RSA is what every validator knows.
    const auto rsa = std::ranges::find(chosen, "rsa-sha256", &storage::DkimKey::algorithm);
    const storage::DkimKey& key = rsa == chosen.end() ? chosen.front() : *rsa;
    const auto held = cache.get(key, sealing_key);
    if (!held) return std::string();
    mailauth::DkimSigner signer;
    signer.domain = key.domain_name;
    signer.selector = key.selector;
    signer.key = held.get();
    BodyPieces body(message);
    // Our DKIM signatures stand below the seal and are not part of what is sealed.
    return mailauth::seal_arc(signer, source_of(message, body), *verdict, now);
}

std::string with_clean_ends(std::string_view octets) {
    std::string out;
    LineEnds ends;
    ends.append(out, octets);
    ends.finish(out);
    return out;
}

void take_header(OutgoingMessage& message, std::string_view octets, std::size_t header_octets, const HeaderEdit& edit) {
    message.header = with_clean_ends(octets.substr(0, header_octets));
    // A message of nothing but fields still needs the line that ends them.
    if (header_octets == octets.size() && !message.header.ends_with("\r\n\r\n")) {
        message.header += message.header.ends_with("\r\n") || message.header.empty() ? "\r\n" : "\r\n\r\n";
    }
    message.header = edit_header(message.header, edit);
    message.utf8_header = ascii::has_8bit(message.header);
}

class Source final : public MessageSource {
 public:
    Source(OutgoingMessagePtr message, net::ThreadPool& pool, net::Loop& loop)
        : message_(std::move(message)), pool_(pool), loop_(loop), body_(*message_) {}

    net::Task<Result<std::string_view>> next() override {
        ++step_;
        if (step_ == 1 && !message_->signatures.empty()) co_return std::string_view(message_->signatures);
        if (step_ <= 2) {
            step_ = 2;
            co_return std::string_view(message_->header);
        }
        if (!message_->reader) co_return body_.next();
        auto read = [this] { return body_.next(); };
        co_return co_await net::offload(pool_, loop_, std::move(read));
    }

 private:
    OutgoingMessagePtr message_;
    net::ThreadPool& pool_;
    net::Loop& loop_;
    BodyPieces body_;
    int step_ = 0;
};

}  // namespace

Result<OutgoingMessagePtr> load_message(const storage::Snapshot& snapshot, const storage::QueueItem& item,
                                        const Signing& signing, Time now, const MessageWish& wish) {
    TRY(storage::BodyReader reader, snapshot.queue().body(item));
    const auto& [dkim_keys, keys, sealing_key] = signing;
    auto message = std::make_shared<OutgoingMessage>();
    const bool small = reader.size_octets() <= kWholeOctets;
    TRY(const std::string start, reader.read(0, small ? kWholeOctets : kHeaderOctetsMax));
    const std::size_t skipped = leading_return_path(start);
    const std::string_view rest = std::string_view(start).substr(skipped);
    const std::size_t header_octets = mime::find_header_end(rest);
    take_header(*message, rest, header_octets, wish.edit);
    if (small) {
        message->body = with_clean_ends(rest.substr(header_octets));
    } else {
        message->body_at = skipped + header_octets;
        message->reader = std::make_shared<storage::BodyReader>(std::move(reader));
    }
    TRY(message->signatures, sign(*message, dkim_keys, wish, keys, sealing_key, now));
    if (!wish.arc.domain.empty()) {
        // The seal helps the next one to believe; without it the message goes all the same.
        auto fields = seal(*message, dkim_keys, wish.arc, keys, sealing_key, now);
        if (!fields) {
            log::warn("relay", "{} leaves without a seal: {}", storage::format_queue_id(item.id),
                      fields.error().context);
        }
        if (fields) message->signatures.insert(0, *fields);
    }
    return OutgoingMessagePtr(std::move(message));
}

Result<OutgoingMessagePtr> finish_message(std::string_view octets, const Signing& signing, Time now,
                                          const MessageWish& wish) {
    const auto& [dkim_keys, keys, sealing_key] = signing;
    auto message = std::make_shared<OutgoingMessage>();
    const std::size_t header_octets = mime::find_header_end(octets);
    take_header(*message, octets, header_octets, wish.edit);
    message->body = with_clean_ends(octets.substr(header_octets));
    TRY(message->signatures, sign(*message, dkim_keys, wish, keys, sealing_key, now));
    return OutgoingMessagePtr(std::move(message));
}

std::unique_ptr<MessageSource> make_source(OutgoingMessagePtr message, net::ThreadPool& pool, net::Loop& loop) {
    return std::make_unique<Source>(std::move(message), pool, loop);
}

}  // namespace posthouse::relay
