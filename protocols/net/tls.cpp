#include "protocols/net/tls.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "protocols/net/tls_impl.h"
#include "protocols/net/tls_sessions.h"

namespace posthouse::net {

namespace {

// RFC 9325 4.2 and RFC 8997: forward secrecy and AEAD only. TLS 1.3 has nothing else.
constexpr const char* kServerCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
// As a client, finite-field exchange too: some old exchanges know no curves (RFC 7435: some protection beats none).
constexpr const char* kClientCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM";
constexpr const char* kGroups = "X25519:P-256:P-384";
constexpr auto kTicketKeyLifetime = std::chrono::hours(12);
constexpr std::size_t kTicketKeyOctets = 80;  // what SSL_CTX_set_tlsext_ticket_keys takes
constexpr std::size_t kAlpnNameOctetsMax = 255;

// --- A BIO over a socket that never raises SIGPIPE (OpenSSL's own writes with write()) ---

int descriptor_of(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

int bio_write(BIO* bio, const char* octets, std::size_t count, std::size_t* written) {
    BIO_clear_retry_flags(bio);
    const ssize_t sent = ::send(descriptor_of(bio), octets, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    *written = sent > 0 ? static_cast<std::size_t>(sent) : 0;
    if (sent < 0 && would_block()) BIO_set_retry_write(bio);
    return sent > 0 ? 1 : 0;
}

int bio_read(BIO* bio, char* octets, std::size_t count, std::size_t* got) {
    BIO_clear_retry_flags(bio);
    const ssize_t received = ::recv(descriptor_of(bio), octets, count, MSG_DONTWAIT);
    *got = received > 0 ? static_cast<std::size_t>(received) : 0;
    if (received < 0 && would_block()) BIO_set_retry_read(bio);
    if (received == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return received > 0 ? 1 : 0;
}

long bio_control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int bio_create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD* socket_bio_method() {
    static BIO_METHOD* const method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "posthouse socket");
        ASSERT(made != nullptr);
        BIO_meth_set_write_ex(made, bio_write);
        BIO_meth_set_read_ex(made, bio_read);
        BIO_meth_set_ctrl(made, bio_control);
        BIO_meth_set_create(made, bio_create);
        return made;
    }();
    return method;
}

SslPtr make_ssl(SSL_CTX* context, int descriptor) {
    SslPtr ssl(SSL_new(context));
    BIO* bio = ssl ? BIO_new(socket_bio_method()) : nullptr;
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)));
    SSL_set_bio(ssl.get(), bio, bio);
    return ssl;
}

// --- Contexts ---

void set_common(SSL_CTX* context) {
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    // RELEASE_BUFFERS: an idle connection gives its 34 KB of record buffers back.
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set1_groups_list(context, kGroups);
}

// RFC 7301 3.2: no protocol in common is a fatal alert. This is what stops a browser that was lured here (ALPACA).
int select_alpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* offered,
                unsigned int offered_length, void* wire_text) {
    const auto& wire = *static_cast<const std::string*>(wire_text);
    if (wire.empty()) return SSL_TLSEXT_ERR_ALERT_FATAL;
    unsigned char* chosen = nullptr;
    const int found = SSL_select_next_proto(&chosen, out_length, reinterpret_cast<const unsigned char*>(wire.data()),
                                            static_cast<unsigned>(wire.size()), offered, offered_length);
    if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

bool renew_ticket_keys(SSL_CTX* context) {
    std::array<unsigned char, kTicketKeyOctets> keys{};
    if (RAND_bytes(keys.data(), static_cast<int>(keys.size())) != 1) return false;
    const bool done = SSL_CTX_set_tlsext_ticket_keys(context, keys.data(), static_cast<long>(keys.size())) == 1;
    OPENSSL_cleanse(keys.data(), keys.size());
    return done;
}

std::int64_t unix_time_of(const ASN1_TIME* time) {
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
    return timegm(&parts);
}

Error refuse(const std::string& what) { return Error(Errc::tls, fmt::format("{}: {}", what, take_tls_error())); }

// The usual trouble with a file, in words that OpenSSL does not have for it.
Result<> check_readable(const std::string& file, std::string_view what) {
    if (::access(file.c_str(), R_OK) == 0) return {};
    return Error(Errc::tls, fmt::format("cannot read the {} in {}: {}", what, file, std::strerror(errno)));
}

Result<> use_certificate(SSL_CTX* context, const std::string& certificate_file, const std::string& key_file) {
    TRY_VOID(check_readable(certificate_file, "certificate"));
    if (SSL_CTX_use_certificate_chain_file(context, certificate_file.c_str()) != 1) {
        return refuse(fmt::format("cannot use the certificate in {}", certificate_file));
    }
    TRY_VOID(check_readable(key_file, "key"));
    if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
        return refuse(fmt::format("cannot use the key in {}", key_file));
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        return refuse(
            fmt::format("the key in {} does not belong to the certificate in {}", key_file, certificate_file));
    }
    return {};
}

Result<SslContextPtr> make_server_context(TlsServerContext::Impl& impl) {
    SslContextPtr context(SSL_CTX_new(TLS_server_method()));
    if (!context) return refuse("no TLS context");
    set_common(context.get());
    if (SSL_CTX_set_cipher_list(context.get(), kServerCiphers) != 1) return refuse("no cipher is left");
    TRY_VOID(use_certificate(context.get(), impl.certificate_file, impl.key_file));
    // Ticket keys are random per SSL_CTX, and the session id context names the service: a ticket that one listener
    // gave is no good at another, so a session can never change its protocol under way.
    const std::string id = impl.name.substr(0, SSL_MAX_SID_CTX_LENGTH);
    SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const unsigned char*>(id.data()),
                                   static_cast<unsigned>(id.size()));
    SSL_CTX_set_num_tickets(context.get(), 1);
    SSL_CTX_set_timeout(context.get(), std::chrono::seconds(kTicketKeyLifetime).count());
    SSL_CTX_set_alpn_select_cb(context.get(), select_alpn, &impl.alpn_wire);
    return context;
}

bool is_ip_literal(const std::string& name) {
    std::array<unsigned char, 16> octets{};
    return inet_pton(AF_INET, name.c_str(), octets.data()) == 1 ||
           inet_pton(AF_INET6, name.c_str(), octets.data()) == 1;
}

TlsFacts common_facts(SSL* ssl) {
    TlsFacts facts;
    facts.version = SSL_get_version(ssl);
    facts.cipher = SSL_get_cipher_name(ssl);
    facts.bits = static_cast<unsigned>(SSL_get_cipher_bits(ssl, nullptr));
    facts.resumed = SSL_session_reused(ssl) == 1;
    const unsigned char* alpn = nullptr;
    unsigned alpn_length = 0;
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_length);
    if (alpn != nullptr) facts.alpn.assign(reinterpret_cast<const char*>(alpn), alpn_length);
    return facts;
}

CertificateFault fault_of(long verdict) {
    switch (verdict) {
        case X509_V_OK: return CertificateFault::none;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH: return CertificateFault::name;
        case X509_V_ERR_CERT_HAS_EXPIRED: return CertificateFault::expired;
        case X509_V_ERR_DANE_NO_MATCH:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_CERT_UNTRUSTED: return CertificateFault::untrusted;
        default: return CertificateFault::other;
    }
}

// Where a connection keeps that its server asked for a certificate.
int asked_index() {
    static const int number = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return number;
}

// Called when the server asks, before the certificate is chosen.
int note_asked(SSL* ssl, void*) {
    static char mark = 0;
    return SSL_set_ex_data(ssl, asked_index(), &mark);
}

// "CN=mail.example.org" (RFC 4514)
std::string subject_of(const X509* certificate) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> out(BIO_new(BIO_s_mem()), BIO_free_all);
    if (!out || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) return "?";
    char* octets = nullptr;
    const long count = BIO_get_mem_data(out.get(), &octets);
    return count > 0 ? std::string(octets, static_cast<std::size_t>(count)) : "?";
}

// What tells that a file was written anew.
std::string state_of(const TlsIdentity& identity) {
    std::string out;
    for (const std::string& file : {identity.certificate_file, identity.key_file}) {
        struct stat found{};
        if (::stat(file.c_str(), &found) != 0) continue;
        out += fmt::format("{}.{}.{}.{} ", found.st_mtim.tv_sec, found.st_mtim.tv_nsec, found.st_ino, found.st_size);
    }
    return out;
}

std::string without_final_dot(std::string name) {
    if (name.ends_with('.')) name.pop_back();  // a rooted DNS name: certificates and SNI leave the dot out
    return name;
}

// RFC 7671 and 7672: the TLSA base is SNI and first name; DANE-EE asks neither for a name nor for a date.
Result<> expect_tlsa(SSL* ssl, const std::string& name, const TlsPeer& expected) {
    if (SSL_dane_enable(ssl, name.c_str()) <= 0) return Error(Errc::tls, "DANE cannot be used for " + name);
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    bool any = false;
    for (const TlsaRecord& record : expected.tlsa) {
        // RFC 7672 3.1.3: the PKIX usages are not for mail. What OpenSSL cannot read is "unusable" likewise.
        if (record.usage != 2 && record.usage != 3) continue;
        any = SSL_dane_tlsa_add(ssl, record.usage, record.selector, record.matching,
                                reinterpret_cast<const unsigned char*>(record.data.data()), record.data.size()) > 0 ||
              any;
    }
    ERR_clear_error();
    if (!any) return Error(Errc::tls, "none of the TLSA records of " + name + " can be used");
    for (const std::string& other : expected.other_names) {
        if (SSL_add1_host(ssl, without_final_dot(other).c_str()) != 1) return Error(Errc::tls, "no memory for a name");
    }
    return {};
}

}  // namespace

std::string take_tls_error() {
    const unsigned long code = ERR_peek_last_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    std::string text = reason == nullptr ? "no reason given" : reason;
    ERR_clear_error();
    return text;
}

TlsFacts server_facts(SSL* ssl) {
    TlsFacts facts = common_facts(ssl);
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name != nullptr) facts.server_name = name;
    return facts;
}

TlsFacts client_facts(SSL* ssl, const TlsPeer& expected) {
    TlsFacts facts = common_facts(ssl);
    facts.server_name = expected.server_name;
    facts.asked_for_ours = SSL_get_ex_data(ssl, asked_index()) != nullptr;
    const X509* const ours = SSL_get_certificate(ssl);
    if (facts.asked_for_ours && ours != nullptr) facts.shown = subject_of(ours);
    if (facts.resumed) return facts;  // TlsSessions::finished() knows what was found
    const long verdict = SSL_get_verify_result(ssl);
    if (SSL_get0_peer_certificate(ssl) == nullptr) {
        facts.verify_error = "the peer showed no certificate";
        facts.fault = CertificateFault::other;
    } else if (verdict != X509_V_OK) {
        facts.verify_error = X509_verify_cert_error_string(verdict);
        facts.fault = fault_of(verdict);
        if (!expected.tlsa.empty() && facts.fault == CertificateFault::untrusted) {
            facts.verify_error = "no TLSA record matches the certificate";
        }
    } else if (expected.server_name.empty()) {
        facts.verify_error = "no name was given to check the certificate against";
    } else {
        facts.peer_verified = true;
        facts.dane = !expected.tlsa.empty() && SSL_get0_dane_authority(ssl, nullptr, nullptr) >= 0;
        ASSERT(facts.dane == !expected.tlsa.empty());
    }
    return facts;
}

TlsBinding binding_of(SSL* ssl, const X509* certificate) {
    constexpr std::string_view kLabel = "EXPORTER-Channel-Binding";  // RFC 9266 2: no context, 32 octets
    TlsBinding out;
    std::array<unsigned char, 32> exported{};
    // Before TLS 1.3 the exporter is only as good as the extended master secret, which not every peer has.
    if (SSL_version(ssl) >= TLS1_3_VERSION &&
        SSL_export_keying_material(ssl, exported.data(), exported.size(), kLabel.data(), kLabel.size(), nullptr, 0,
                                   0) == 1) {
        out.exporter.assign(reinterpret_cast<const char*>(exported.data()), exported.size());
    }
    if (certificate == nullptr) return out;
    // RFC 5929 4.1: the digest of the certificate's signature, SHA-256 in the place of the weak ones.
    int digest = NID_undef;
    if (OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, nullptr) != 1) return out;
    if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
    const EVP_MD* const algorithm = EVP_get_digestbynid(digest);
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    unsigned length = 0;
    if (algorithm != nullptr && X509_digest(certificate, algorithm, hash.data(), &length) == 1) {
        out.server_end_point.assign(reinterpret_cast<const char*>(hash.data()), length);
    }
    return out;
}

// --- Server ---

TlsServerContext::TlsServerContext() : impl_(std::make_unique<Impl>()) {}
TlsServerContext::~TlsServerContext() = default;

Result<std::unique_ptr<TlsServerContext>> TlsServerContext::load(std::string name, std::string certificate_file,
                                                                 std::string key_file, std::vector<std::string> alpn) {
    std::unique_ptr<TlsServerContext> out(new TlsServerContext());
    Impl& impl = *out->impl_;
    impl.name = std::move(name);
    impl.certificate_file = std::move(certificate_file);
    impl.key_file = std::move(key_file);
    for (const std::string& protocol : alpn) {
        ASSERT(!protocol.empty() && protocol.size() <= kAlpnNameOctetsMax);
        impl.alpn_wire += static_cast<char>(protocol.size());
        impl.alpn_wire += protocol;
    }
    TRY_VOID(out->reload());
    return out;
}

Result<> TlsServerContext::reload() {
    ERR_clear_error();
    TRY(SslContextPtr fresh, make_server_context(*impl_));
    impl_->not_after_unix = unix_time_of(X509_get0_notAfter(SSL_CTX_get0_certificate(fresh.get())));
    impl_->context = std::move(fresh);  // connections under way keep the old one alive
    impl_->ticket_keys_since = std::chrono::steady_clock::now();
    return {};
}

std::int64_t TlsServerContext::not_after_unix() const { return impl_->not_after_unix; }

SslPtr TlsServerContext::Impl::make_connection(int descriptor) {
    const auto now = std::chrono::steady_clock::now();
    if (now - ticket_keys_since > kTicketKeyLifetime && renew_ticket_keys(context.get())) ticket_keys_since = now;
    SslPtr ssl = make_ssl(context.get(), descriptor);
    if (ssl) SSL_set_accept_state(ssl.get());
    return ssl;
}

// --- Client ---

TlsClientContext::TlsClientContext() : impl_(std::make_unique<Impl>()) {}
TlsClientContext::~TlsClientContext() = default;

Result<std::unique_ptr<TlsClientContext>> TlsClientContext::make(Verify verify, std::string ca_file, Anchors anchors,
                                                                 TlsIdentity identity) {
    ERR_clear_error();
    std::unique_ptr<TlsClientContext> out(new TlsClientContext());
    Impl& impl = *out->impl_;
    impl.verify = verify;
    impl.context.reset(SSL_CTX_new(TLS_client_method()));
    if (!impl.context) return refuse("no TLS context");
    set_common(impl.context.get());
    impl.sessions = std::make_shared<TlsSessions>();
    TlsSessions::listen(impl.context.get());
    if (SSL_CTX_dane_enable(impl.context.get()) != 1) return refuse("no DANE");
    if (SSL_CTX_set_cipher_list(impl.context.get(), kClientCiphers) != 1) return refuse("no cipher is left");
    int loaded = 1;
    if (ca_file.empty() || anchors == Anchors::besides) loaded = SSL_CTX_set_default_verify_paths(impl.context.get());
    if (!ca_file.empty() && loaded == 1) {
        loaded = SSL_CTX_load_verify_locations(impl.context.get(), ca_file.c_str(), nullptr);
    }
    if (loaded != 1) return refuse(fmt::format("cannot read the trust anchors in {}", ca_file));
    // SSL_VERIFY_NONE still runs the checks and remembers what they found: client_facts() reads it.
    SSL_CTX_set_verify(impl.context.get(), verify == Verify::required ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_cert_cb(impl.context.get(), note_asked, nullptr);
    impl.identity = std::move(identity);
    TRY_VOID(impl.show());
    return out;
}

Result<> TlsClientContext::Impl::show() {
    if (identity.certificate_file.empty()) return {};
    std::string seen = state_of(identity);
    TRY_VOID(use_certificate(context.get(), identity.certificate_file, identity.key_file));
    identity_seen = std::move(seen);
    return {};
}

Result<> TlsClientContext::refresh() {
    const TlsIdentity& identity = impl_->identity;
    if (identity.certificate_file.empty() || state_of(identity) == impl_->identity_seen) return {};
    ERR_clear_error();
    // A pair that does not fit would leave half of it behind: it is tried elsewhere first.
    const SslContextPtr trial(SSL_CTX_new(TLS_client_method()));
    if (!trial) return refuse("no TLS context");
    TRY_VOID(use_certificate(trial.get(), identity.certificate_file, identity.key_file));
    return impl_->show();
}

namespace {

// Everything that the certificate was checked against, beside the context's anchors.
std::string session_key(const TlsPeer& expected) {
    std::string out = fmt::format("{}\n{}\n", expected.session_scope, expected.server_name);
    for (const std::string& name : expected.other_names) out += name + "\n";
    for (const TlsaRecord& record : expected.tlsa) {
        out += fmt::format("{} {} {} {}:", record.usage, record.selector, record.matching, record.data.size());
        out += record.data;
    }
    return out;
}

}  // namespace

bool TlsClientContext::has_session(const TlsPeer& expected) const {
    return !expected.session_scope.empty() && impl_->sessions->knows(session_key(expected));
}

Result<SslPtr> TlsClientContext::Impl::make_connection(int descriptor, const TlsPeer& expected) {
    const std::string name = without_final_dot(expected.server_name);
    if (name.empty() && verify == Verify::required) {
        return Error(Errc::tls, "no name was given to check the certificate against");
    }
    SslPtr ssl = make_ssl(context.get(), descriptor);
    if (!ssl) return refuse("no TLS connection");
    SSL_set_connect_state(ssl.get());
    const bool may_resume = !expected.session_scope.empty() && identity.certificate_file.empty();
    if (may_resume) sessions->prepare(ssl.get(), session_key(expected));
    X509_VERIFY_PARAM* checks = SSL_get0_param(ssl.get());
    X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);  // RFC 9525 6.3
    if (name.empty()) return ssl;
    if (!expected.tlsa.empty()) {
        TRY_VOID(expect_tlsa(ssl.get(), name, expected));
        return ssl;
    }
    // SNI carries names only (RFC 6066 3); an address is checked against the iPAddress entries (RFC 9525 6.1.2).
    const int set = is_ip_literal(name) ? X509_VERIFY_PARAM_set1_ip_asc(checks, name.c_str())
                                        : X509_VERIFY_PARAM_set1_host(checks, name.data(), name.size()) &
                                              static_cast<int>(SSL_set_tlsext_host_name(ssl.get(), name.c_str()));
    if (set != 1) return Error(Errc::tls, fmt::format("\"{}\" cannot be checked in a certificate", name));
    return ssl;
}

}  // namespace posthouse::net
