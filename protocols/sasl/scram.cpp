#include "protocols/sasl/scram.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/crypto/crypto.h"
#include "protocols/sasl/saslname.h"

namespace posthouse::sasl {

namespace {

constexpr std::size_t kNonceOctetsMax = 256;
constexpr std::size_t kMessageOctetsMax = 4096;
constexpr std::string_view kExporter = "tls-exporter";          // RFC 9266
constexpr std::string_view kEndPoint = "tls-server-end-point";  // RFC 5929 4

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }
Error wrong() { return Error(Errc::unauthenticated, "the proof is wrong"); }

std::string_view text_of(const crypto::Sha256Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}
std::string hmac(std::string_view key, std::string_view octets) {
    return std::string(text_of(crypto::hmac_sha256(key, octets)));
}
std::string exclusive_or(std::string a, std::string_view b) {
    ASSERT(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<char>(a[i] ^ b[i]);
    return a;
}

// printable = %x21-2B / %x2D-7E                                             RFC 5802 7
bool is_printable(char c) { return c >= 0x21 && c <= 0x7e && c != ','; }

// attribute "=" value, up to the next ","
Result<std::string_view> take_attribute(Cursor& in, char name) {
    if (!in.take(name) || !in.take('=')) return bad("SCRAM without an attribute that it must have");
    return in.take_until(',');
}

// r=c-nonce [s-nonce]
Result<std::string_view> take_nonce(Cursor& in) {
    TRY(const std::string_view nonce, take_attribute(in, 'r'));
    bool printable = !nonce.empty() && nonce.size() <= kNonceOctetsMax;
    for (const char c : nonce) printable = printable && is_printable(c);
    if (!printable) return bad("SCRAM with a nonce that is none");
    return nonce;
}

Result<std::string> take_name(Cursor& in, char attribute) {
    TRY(const std::string_view text, take_attribute(in, attribute));
    TRY(std::string out, decode_saslname(text));
    if (out.empty() || out.size() > kCredentialOctetsMax || !ascii::is_valid_utf8(out) || out.contains('\0')) {
        return bad("SCRAM with a login that cannot be one");
    }
    return out;
}

class ScramServer final : public ServerMechanism {
 public:
    ScramServer(Binding binding, ServerSide side) : binding_(binding), side_(std::move(side)) {}

    Result<Step> start(std::optional<std::string_view> initial) override {
        if (!initial) return Step();  // RFC 5802 5: an empty challenge asks for the first message
        return answer(*initial);
    }

    Result<Step> answer(std::string_view response) override {
        if (response.size() > kMessageOctetsMax) return Error(Errc::too_large, "a SCRAM message is too long");
        switch (stage_) {
            case Stage::first: return take_first(response);
            case Stage::proof: return take_proof(response);
            case Stage::last:
                if (!response.empty()) return bad("SCRAM with words behind its end");
                return Step();
            case Stage::keys: break;
        }
        return Error(Errc::internal, "SCRAM waits for keys");
    }

    Result<Step> take_keys(std::vector<crypto::ScramKeys> keys) override {
        ASSERT(stage_ == Stage::keys && !keys.empty());
        keys_ = std::move(keys);
        stage_ = Stage::proof;
        server_first_ =
            fmt::format("r={},s={},i={}", nonce_, crypto::base64_encode(keys_.front().salt), keys_.front().iterations);
        Step step;
        step.challenge = server_first_;
        return step;
    }

 private:
    enum class Stage { first, keys, proof, last };

    // gs2-header = gs2-cbind-flag "," [ "a=" saslname ] ","
    // client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
    Result<Step> take_first(std::string_view message) {
        Cursor in(message);
        TRY_VOID(take_flag(in));
        if (!in.take(',')) return bad("SCRAM without its header");
        std::string acts_for;
        // "a=" with nothing behind it is no saslname, but what GNU SASL sends where it acts for nobody.
        if (in.peek() == 'a' && in.peek(2) != ',') {
            TRY(acts_for, take_name(in, 'a'));
        } else {
            in.take("a=");
        }
        if (!in.take(',')) return bad("SCRAM without its header");
        gs2_header_ = message.substr(0, in.position());
        client_first_ = in.rest();
        // "m=" announces an extension that must be understood: none is (RFC 5802 5.1).
        TRY(std::string login, take_name(in, 'n'));
        if (!in.take(',')) return bad("SCRAM without a nonce");
        TRY(const std::string_view nonce, take_nonce(in));
        if (!acts_for.empty() && prepare_login(acts_for) != prepare_login(login))
            return Error(Errc::denied, "SCRAM asks to act for someone else");
        nonce_ = std::string(nonce) + side_.nonce;
        stage_ = Stage::keys;
        Step step;
        step.keys_of = std::move(login);
        return step;
    }

    // gs2-cbind-flag = "p=" cb-name / "n" / "y"
    Result<> take_flag(Cursor& in) {
        if (in.take("p=")) {
            const std::string_view name = in.take_until(',');
            if (binding_ == Binding::none) return bad("SCRAM binds to a channel under the name that does not");
            if (name == kExporter) {
                bound_ = side_.binding.exporter;
            } else if (name == kEndPoint) {
                bound_ = side_.binding.end_point;
            }
            if (bound_.empty()) return bad("SCRAM binds to a channel in a way that is not offered");
            return {};
        }
        if (binding_ == Binding::required) return bad("SCRAM-PLUS that binds to no channel");
        if (in.take('n')) return {};
        if (!in.take('y')) return bad("SCRAM without its header");
        if (side_.plus_offered) return Error(Errc::denied, "the client was kept from binding to the channel");
        return {};
    }

    // client-final-message = "c=" base64 "," nonce ["," extensions] "," "p=" base64
    Result<Step> take_proof(std::string_view message) {
        Cursor in(message);
        TRY(const std::string_view binding, take_attribute(in, 'c'));
        if (!in.take(',')) return bad("SCRAM without a nonce");
        TRY(const std::string_view nonce, take_nonce(in));
        const std::size_t at = message.rfind(",p=");
        if (at == std::string_view::npos || at < in.position()) return bad("SCRAM without a proof");
        TRY(const std::string proof, crypto::base64_decode(message.substr(at + 3)));
        TRY(const std::string bound, crypto::base64_decode(binding));
        if (proof.size() != keys_.front().stored_key.size()) return bad("SCRAM with a proof of an odd size");
        const std::string what =
            fmt::format("{},{},{}", client_first_, server_first_, message.substr(0, at));  // AuthMessage
        const bool same = crypto::equal_constant_time(bound, gs2_header_ + bound_) && nonce == nonce_;
        std::optional<std::size_t> fits;
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            const std::string client_key = exclusive_or(proof, hmac(keys_[i].stored_key, what));
            if (crypto::equal_constant_time(text_of(crypto::sha256(client_key)), keys_[i].stored_key)) fits = i;
        }
        if (!same || !fits) return wrong();
        stage_ = Stage::last;
        Step step;
        step.proven = fits;
        step.challenge = "v=" + crypto::base64_encode(hmac(keys_[*fits].server_key, what));
        return step;
    }

    Binding binding_;
    ServerSide side_;
    Stage stage_ = Stage::first;
    std::string bound_;         // what the channel is known by
    std::string gs2_header_;    // with its last ","
    std::string client_first_;  // bare
    std::string server_first_;
    std::string nonce_;
    std::vector<crypto::ScramKeys> keys_;
};

}  // namespace

std::unique_ptr<ServerMechanism> make_scram_server(Binding binding, ServerSide side) {
    return std::make_unique<ScramServer>(binding, std::move(side));
}

ScramClient::ScramClient(std::string login, std::string password, ChannelBinding binding, bool plus_offered,
                         std::string nonce)
    : login_(std::move(login)),
      password_(std::move(password)),
      binding_(std::move(binding)),
      plus_(plus_offered && !binding_.exporter.empty()),
      nonce_(std::move(nonce)) {}

ScramClient::~ScramClient() {
    volatile char* at = password_.data();
    for (std::size_t i = 0; i < password_.size(); ++i) at[i] = '\0';
}

std::string_view ScramClient::mechanism() const { return plus_ ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256"; }

std::string ScramClient::gs2_header() const {
    if (plus_) return fmt::format("p={},,", kExporter);
    return binding_.exporter.empty() ? "n,," : "y,,";
}

std::string ScramClient::first() const {
    return fmt::format("{}n={},r={}", gs2_header(), encode_saslname(login_), nonce_);
}

Result<std::string> ScramClient::answer(std::string_view server_first) {
    if (server_first.size() > kMessageOctetsMax) return Error(Errc::too_large, "a SCRAM message is too long");
    Cursor in(server_first);
    TRY(const std::string_view nonce, take_nonce(in));
    if (nonce.size() <= nonce_.size() || !nonce.starts_with(nonce_)) return bad("the server did not add to the nonce");
    if (!in.take(',')) return bad("SCRAM without a salt");
    TRY(const std::string_view salt_text, take_attribute(in, 's'));
    TRY(std::string salt, crypto::base64_decode(salt_text));
    if (!in.take(',')) return bad("SCRAM without a count of iterations");
    TRY(const std::string_view count, take_attribute(in, 'i'));
    const auto iterations = ascii::parse_number(count);
    if (salt.empty() || !iterations || *iterations == 0) return bad("SCRAM with a salt or a count that is none");
    if (*iterations > kScramIterationsMax) return Error(Errc::too_large, "the server asks for too many iterations");

    TRY(const std::string password, prepare_password(password_));
    const auto turns = static_cast<std::uint32_t>(*iterations);
    const std::string salted(text_of(crypto::pbkdf2_sha256(password, salt, turns)));
    const std::string client_key = hmac(salted, "Client Key");
    const std::string bound = gs2_header() + (plus_ ? binding_.exporter : std::string());
    const std::string without_proof = fmt::format("c={},r={}", crypto::base64_encode(bound), nonce);
    const std::string what =
        fmt::format("n={},r={},{},{}", encode_saslname(login_), nonce_, server_first, without_proof);  // AuthMessage
    const std::string proof = exclusive_or(client_key, hmac(text_of(crypto::sha256(client_key)), what));
    server_signature_ = hmac(hmac(salted, "Server Key"), what);
    return fmt::format("{},p={}", without_proof, crypto::base64_encode(proof));
}

Result<> ScramClient::check(std::string_view server_final) const {
    Cursor in(server_final);
    const auto text = take_attribute(in, 'v');
    if (!text) return Error(Errc::unauthenticated, "the server refused the proof");
    const auto signature = crypto::base64_decode(*text);
    if (!signature || server_signature_.empty() || !crypto::equal_constant_time(*signature, server_signature_)) {
        return Error(Errc::unauthenticated, "the server does not know the password");
    }
    return {};
}

}  // namespace posthouse::sasl
