// TLSA records instead of trust anchors, with OpenSSL at both ends (RFC 7671, RFC 7672 3).
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <filesystem>
#include <fstream>

#include "protocols/crypto/crypto.h"
#include "protocols/net/tls.h"
#include "tests/unit/protocols/net/pair.h"

using namespace posthouse;
using namespace posthouse::net;

namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Key make_key() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

// A certificate that is good up to `days` from now (negative: it has ended), made by `issuer` or by itself.
Certificate make_certificate(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key, int days) {
    Certificate out(X509_new(), X509_free);
    X509_set_version(out.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(out.get()), issuer == nullptr ? 1 : 2);
    constexpr long kDay = 86'400;
    X509_gmtime_adj(X509_getm_notBefore(out.get()), -30 * kDay);
    X509_gmtime_adj(X509_getm_notAfter(out.get()), days * kDay);
    X509_set_pubkey(out.get(), key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509* const by = issuer == nullptr ? out.get() : issuer;
    X509_set_issuer_name(out.get(), X509_get_subject_name(by));
    const auto extend = [&](int nid, const std::string& value) {
        X509V3_CTX context;
        X509V3_set_ctx(&context, by, out.get(), nullptr, nullptr, 0);
        X509_EXTENSION* made = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
        X509_add_ext(out.get(), made, -1);
        X509_EXTENSION_free(made);
    };
    extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
    extend(NID_subject_alt_name, std::string("DNS:") + name);
    X509_sign(out.get(), issuer_key, EVP_sha256());
    return out;
}

std::string pem_of(X509* certificate) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    char* text = nullptr;
    const long length = BIO_get_mem_data(bio, &text);
    std::string out(text, static_cast<std::size_t>(length));
    BIO_free(bio);
    return out;
}

// What a server shows: a certificate of mx.test and the authority that made it; and the digests of TLSA records.
class Shown {
 public:
    explicit Shown(int days) {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-dane-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        directory_ = pattern;
        const Key authority_key = make_key();
        const Key key = make_key();
        authority_ = make_certificate("authority.test", authority_key.get(), nullptr, authority_key.get(), 30);
        leaf_ = make_certificate("mx.test", key.get(), authority_.get(), authority_key.get(), days);
        std::ofstream(directory_ / "cert.pem") << pem_of(leaf_.get()) << pem_of(authority_.get());
        BIO* bio = BIO_new_file((directory_ / "key.pem").c_str(), "w");
        PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        BIO_free(bio);
    }
    ~Shown() { std::filesystem::remove_all(directory_); }
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;

    std::unique_ptr<TlsServerContext> server() const {
        auto context = TlsServerContext::load("smtp", directory_ / "cert.pem", directory_ / "key.pem", {});
        REQUIRE(context);
        return *std::move(context);
    }
    /// Usage 2 is about the authority, all others about the server's own certificate.
    TlsaRecord record(std::uint8_t usage, std::uint8_t selector) const {
        X509* const of = usage == 2 ? authority_.get() : leaf_.get();
        unsigned char* der = nullptr;
        const int length = selector == 0 ? i2d_X509(of, &der) : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(of), &der);
        const auto digest =
            crypto::sha256(std::string_view(reinterpret_cast<char*>(der), static_cast<std::size_t>(length)));
        OPENSSL_free(der);
        TlsaRecord out;
        out.usage = usage;
        out.selector = selector;
        out.matching = 1;
        out.data.assign(digest.begin(), digest.end());
        return out;
    }

 private:
    std::filesystem::path directory_;
    Certificate authority_{nullptr, X509_free};
    Certificate leaf_{nullptr, X509_free};
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

Task<void> meet_and_read(Stream& stream, TlsClientContext& context, TlsPeer expected) {
    const auto done = co_await stream.start_tls_client(context, std::move(expected));
    if (!done) stream.close();
    if (done) static_cast<void>(co_await read_octets(stream, 2));  // a ticket of TLS 1.3 comes with what is read
}

Task<void> serve_and_write(Stream& stream, TlsServerContext& context) {
    const auto done = co_await stream.start_tls_server(context);
    if (done) static_cast<void>(co_await stream.write_all("ok"));
}

// One connection after the other from one client context.
struct Visitor {
    explicit Visitor(const Shown& shown) : server(shown.server()) {
        client = TlsClientContext::make(Verify::opportunistic, "").value();
    }
    TlsFacts visit(TlsPeer expected) {
        Loop loop;
        TcpPair pair(loop);
        run_task(loop, run_both(loop, serve_and_write(*pair.ends.server, *server),
                                meet_and_read(*pair.ends.client, *client, std::move(expected))));
        const auto facts = pair.ends.client->tls();
        pair.ends.client->close();
        return facts.value_or(TlsFacts());
    }
    std::unique_ptr<TlsServerContext> server;
    std::unique_ptr<TlsClientContext> client;
};

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

TEST_CASE("TLS sessions: resumed in the same scope, with what was found of the certificate; never across demands") {
    const Shown shown(30);
    Visitor visitor(shown);
    TlsPeer plain("mx.test");
    plain.session_scope = "192.0.2.1:25 opportunistic";
    TlsPeer dane = plain;
    dane.session_scope = "192.0.2.1:25 required DANE";
    dane.tlsa = {shown.record(3, 1)};
    CHECK_FALSE(visitor.client->has_session(plain));
    CHECK_FALSE(visitor.visit(plain).resumed);
    CHECK(visitor.client->has_session(plain));
    CHECK_FALSE(visitor.client->has_session(dane));
    const TlsFacts again = visitor.visit(plain);
    CHECK(again.resumed);
    CHECK_FALSE(again.peer_verified);  // no anchor knows its authority: a resumed session does not forget that
    CHECK(again.fault == CertificateFault::untrusted);
    CHECK_FALSE(visitor.visit(dane).resumed);
    const TlsFacts verified = visitor.visit(dane);
    CHECK(verified.resumed);
    CHECK(verified.peer_verified);
    CHECK(verified.dane);
    TlsPeer rolled = dane;
    rolled.tlsa.push_back(shown.record(2, 0));
    CHECK_FALSE(visitor.visit(rolled).resumed);  // other records: the certificate is looked at again
    TlsPeer other = plain;
    other.server_name = "mx.other.test";
    CHECK_FALSE(visitor.visit(other).resumed);
    TlsPeer sts = plain;
    sts.session_scope = "192.0.2.1:25 required MTA-STS";
    CHECK_FALSE(visitor.visit(sts).resumed);
    CHECK_FALSE(visitor.visit(TlsPeer("mx.test")).resumed);  // without a scope nothing is kept
    CHECK_FALSE(visitor.visit(TlsPeer("mx.test")).resumed);
    CHECK(visitor.visit(plain).resumed);
    // The server forgot its ticket keys: a whole handshake, and the next one is short again.
    REQUIRE(visitor.server->reload());
    CHECK_FALSE(visitor.visit(plain).resumed);
    CHECK(visitor.visit(plain).resumed);
}

TEST_CASE("TLS sessions: one that was offered where the handshake failed is not offered again") {
    const Shown shown(30);
    Visitor visitor(shown);
    TlsPeer plain("mx.test");
    plain.session_scope = "here";
    visitor.visit(plain);
    REQUIRE(visitor.client->has_session(plain));
    Loop loop;
    TcpPair pair(loop);
    pair.ends.server->close();
    Result<> outcome;
    run_task(loop, meet(*pair.ends.client, *visitor.client, plain, outcome));
    CHECK_FALSE(outcome);
    CHECK_FALSE(visitor.client->has_session(plain));
}

TEST_CASE("TLS sessions: none outlives its certificate") {
    const Shown ended(-1);
    Visitor visitor(ended);
    TlsPeer plain("mx.test");
    plain.session_scope = "here";
    CHECK_FALSE(visitor.visit(plain).resumed);
    CHECK_FALSE(visitor.visit(plain).resumed);
}
