// TLSA records instead of trust anchors, with OpenSSL at both ends (RFC 7671, RFC 7672 3).
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <filesystem>
#include <fstream>

#include "protocols/crypto/crypto.h"
#include "protocols/net/tls.h"
#include "tests/unit/protocols/net/pair.h"

using namespace posthouse;
using namespace posthouse::net;

namespace {

// A self-signed certificate, and the digests that TLSA records about it hold.
class Shown {
 public:
    explicit Shown(int days) {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-dane-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        directory_ = pattern;
        const std::vector<std::string> names = {"mx.test"};
        const auto made = crypto::make_self_signed(names, days);
        REQUIRE(made);
        std::ofstream(directory_ / "cert.pem") << made->certificate_pem;
        std::ofstream(directory_ / "key.pem") << made->key_pem;
        BIO* bio = BIO_new_mem_buf(made->certificate_pem.data(), static_cast<int>(made->certificate_pem.size()));
        X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
        BIO_free(bio);
        REQUIRE(certificate != nullptr);
        unsigned char* der = nullptr;
        int length = i2d_X509(certificate, &der);
        whole_ = digest(std::string(reinterpret_cast<char*>(der), static_cast<std::size_t>(length)));
        OPENSSL_free(der);
        der = nullptr;
        length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
        key_ = digest(std::string(reinterpret_cast<char*>(der), static_cast<std::size_t>(length)));
        OPENSSL_free(der);
        X509_free(certificate);
    }
    ~Shown() { std::filesystem::remove_all(directory_); }
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;

    std::unique_ptr<TlsServerContext> server() const {
        auto context = TlsServerContext::load("smtp", directory_ / "cert.pem", directory_ / "key.pem", {});
        REQUIRE(context);
        return *std::move(context);
    }
    TlsaRecord record(std::uint8_t usage, std::uint8_t selector) const {
        TlsaRecord out;
        out.usage = usage;
        out.selector = selector;
        out.matching = 1;
        out.data = selector == 0 ? whole_ : key_;
        return out;
    }

 private:
    static std::string digest(const std::string& octets) {
        const auto made = crypto::sha256(octets);
        return {made.begin(), made.end()};
    }

    std::filesystem::path directory_;
    std::string whole_;
    std::string key_;
};

Task<void> serve(Stream& stream, TlsServerContext& context) {
    const auto done = co_await stream.start_tls_server(context);
    if (!done) stream.close();
}

Task<void> meet(Stream& stream, TlsClientContext& context, TlsPeer expected, Result<>& outcome) {
    outcome = co_await stream.start_tls_client(context, std::move(expected));
    if (!outcome) stream.close();
}

struct Met {
    Result<> outcome;
    std::optional<TlsFacts> facts;
};

Met meet_with(const Shown& shown, Verify verify, TlsPeer expected) {
    const auto server = shown.server();
    auto client = TlsClientContext::make(verify, "");
    REQUIRE(client);
    Loop loop;
    TcpPair pair(loop);
    Met out;
    run_task(loop, run_both(loop, serve(*pair.ends.server, *server),
                            meet(*pair.ends.client, **client, std::move(expected), out.outcome)));
    out.facts = pair.ends.client->tls();
    return out;
}

TlsaRecord altered(TlsaRecord record) {
    record.data.front() = static_cast<char>(record.data.front() ^ 1);
    return record;
}

}  // namespace

TEST_CASE("DANE-EE: the record alone decides; neither name nor anchor nor date do (RFC 7672 3.1.1)") {
    const Shown shown(30);
    TlsPeer other_name("mx.other.test");
    other_name.tlsa = {shown.record(3, 1)};
    const Shown expired(-1);
    TlsPeer late("mx.test");
    late.tlsa = {expired.record(3, 0)};
    const Met met = meet_with(shown, Verify::required, other_name);
    REQUIRE_MESSAGE(met.outcome, met.outcome.error().context);
    CHECK(met.facts->peer_verified);
    CHECK(met.facts->dane);
    CHECK(met.facts->verify_error.empty());
    const Met met_late = meet_with(expired, Verify::required, late);
    REQUIRE_MESSAGE(met_late.outcome, met_late.outcome.error().context);
    CHECK(met_late.facts->dane);
}

TEST_CASE("DANE: one of several records is enough, as in a rollover (RFC 7671 8.1)") {
    const Shown shown(30);
    TlsPeer rollover("mx.test");
    rollover.tlsa = {altered(shown.record(3, 1)), shown.record(3, 1), altered(shown.record(2, 0))};
    CHECK(meet_with(shown, Verify::required, rollover).outcome);
}

TEST_CASE("DANE: where no record matches, a required check fails and an opportunistic one tells") {
    const Shown shown(30);
    TlsPeer wrong("mx.test");
    wrong.tlsa = {altered(shown.record(3, 1))};
    const Met required = meet_with(shown, Verify::required, wrong);
    REQUIRE_FALSE(required.outcome);
    CHECK(required.outcome.error().code == Errc::tls);
    const Met told = meet_with(shown, Verify::opportunistic, wrong);
    REQUIRE(told.outcome);
    CHECK_FALSE(told.facts->peer_verified);
    CHECK_FALSE(told.facts->dane);
    CHECK(told.facts->fault == CertificateFault::untrusted);
    CHECK(told.facts->verify_error.find("TLSA") != std::string::npos);
}

TEST_CASE("DANE-TA: the chain must end at the record, and the name counts; so do the other names (RFC 7672 3.1.2)") {
    const Shown shown(30);
    TlsPeer by_name("mx.test");
    by_name.tlsa = {shown.record(2, 0)};
    CHECK(meet_with(shown, Verify::opportunistic, by_name).facts->dane);
    TlsPeer other("mx.other.test");
    other.tlsa = {shown.record(2, 0)};
    const Met refused = meet_with(shown, Verify::opportunistic, other);
    REQUIRE(refused.outcome);
    CHECK_FALSE(refused.facts->peer_verified);
    CHECK(refused.facts->fault == CertificateFault::name);
    other.other_names = {"mx.test"};
    CHECK(meet_with(shown, Verify::opportunistic, other).facts->dane);
    const Shown expired(-1);
    TlsPeer late("mx.test");
    late.tlsa = {expired.record(2, 0)};
    const Met met_late = meet_with(expired, Verify::opportunistic, late);
    CHECK_FALSE(met_late.facts->peer_verified);
    CHECK(met_late.facts->fault == CertificateFault::expired);
}

TEST_CASE("DANE: PKIX usages are unusable for mail, and with nothing usable there is no handshake") {
    const Shown shown(30);
    TlsPeer pkix("mx.test");
    pkix.tlsa = {shown.record(1, 1), shown.record(0, 0)};
    const Met met = meet_with(shown, Verify::opportunistic, pkix);
    REQUIRE_FALSE(met.outcome);
    CHECK(met.outcome.error().code == Errc::tls);
}

TEST_CASE("a plain client tells what is wrong with a certificate") {
    const Shown shown(30);
    const Met met = meet_with(shown, Verify::opportunistic, TlsPeer("mx.test"));
    REQUIRE(met.outcome);
    CHECK(met.facts->fault == CertificateFault::untrusted);
    CHECK_FALSE(met.facts->dane);
}
