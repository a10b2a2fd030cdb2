// What a client shows of itself where the server asks (RFC 8446 4.4.2).
#include <openssl/ssl.h>

#include <filesystem>
#include <fstream>

#include "protocols/crypto/crypto.h"
#include "protocols/net/tls.h"
#include "protocols/net/tls_impl.h"
#include "tests/unit/protocols/net/pair.h"

using namespace posthouse;
using namespace posthouse::net;

namespace {

class Folder {
 public:
    Folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-tls-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    /// A certificate and its key: NAME.pem and NAME.key.
    void certify(const std::string& name, const std::string& subject) const {
        const std::vector<std::string> names{subject};
        const auto made = crypto::make_self_signed(names, 30);
        REQUIRE(made);
        write(name + ".pem", made->certificate_pem);
        write(name + ".key", made->key_pem);
    }
    void write(const std::string& name, const std::string& text) const { std::ofstream(path_ / name) << text; }
    std::string file(const std::string& name) const { return path_ / name; }
    TlsIdentity identity(const std::string& name) const {
        TlsIdentity out;
        out.certificate_file = file(name + ".pem");
        out.key_file = file(name + ".key");
        return out;
    }

 private:
    std::filesystem::path path_;
};

/// A server that wants a certificate, whoever made it, and a client of ours.
struct Meeting {
    explicit Meeting(bool asks = true) {
        files.certify("server", "mail.test");
        server = TlsServerContext::load("test", files.file("server.pem"), files.file("server.key"), {}).value();
        if (!asks) return;
        SSL_CTX_set_verify(server->impl().context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           [](int, X509_STORE_CTX*) { return 1; });
    }
    Result<std::unique_ptr<TlsClientContext>> client(TlsIdentity identity) const {
        return TlsClientContext::make(Verify::required, files.file("server.pem"), Anchors::instead,
                                      std::move(identity));
    }
    /// Whether the server took it; `facts` are the client's.
    bool meet(TlsClientContext& context) {
        Loop loop;
        TcpPair pair(loop);
        Result<> taken;
        const auto serve = [](Stream& stream, TlsServerContext& of, Result<>& outcome) -> Task<void> {
            outcome = co_await stream.start_tls_server(of);
            if (!outcome) stream.close();
        };
        const auto dial = [](Stream& stream, TlsClientContext& of) -> Task<void> {
            static_cast<void>(co_await stream.start_tls_client(of, "mail.test"));
        };
        run_task(loop, run_both(loop, serve(*pair.ends.server, *server, taken), dial(*pair.ends.client, context)));
        facts = pair.ends.client->tls().value_or(TlsFacts());
        return taken.has_value();
    }

    Folder files;
    std::unique_ptr<TlsServerContext> server;
    TlsFacts facts;
};

}  // namespace

TEST_CASE("a server that asks for a certificate is shown ours; one that does not, is not") {
    Meeting asking;
    asking.files.certify("ours", "mail.home.example");
    const auto with = asking.client(asking.files.identity("ours")).value();
    CHECK(asking.meet(*with));
    CHECK(asking.facts.asked_for_ours);
    CHECK(asking.facts.shown == "CN=mail.home.example");
    CHECK(asking.meet(*with));  // each connection shows it
    CHECK_FALSE(asking.facts.resumed);
    CHECK(asking.facts.shown == "CN=mail.home.example");

    const auto without = asking.client(TlsIdentity()).value();
    CHECK_FALSE(asking.meet(*without));
    CHECK(asking.facts.asked_for_ours);
    CHECK(asking.facts.shown.empty());

    Meeting silent(false);
    silent.files.certify("ours", "mail.home.example");
    CHECK(silent.meet(*silent.client(silent.files.identity("ours")).value()));
    CHECK_FALSE(silent.facts.asked_for_ours);
    CHECK(silent.facts.shown.empty());
}

TEST_CASE("a certificate of ours that is missing, broken or without its key is refused with the file's name") {
    Meeting meeting;
    meeting.files.certify("ours", "mail.home.example");
    meeting.files.certify("other", "mail.home.example");
    const auto trouble = [&](TlsIdentity identity) { return meeting.client(std::move(identity)).error().context; };
    CHECK(trouble(meeting.files.identity("none")) ==
          "cannot read the certificate in " + meeting.files.file("none.pem") + ": No such file or directory");
    TlsIdentity mixed = meeting.files.identity("ours");
    mixed.key_file = meeting.files.file("none.key");
    CHECK(trouble(mixed).starts_with("cannot read the key in " + mixed.key_file));
    mixed.key_file = meeting.files.file("other.key");
    CHECK(trouble(mixed) == "cannot use the key in " + mixed.key_file + ": key values mismatch");
    meeting.files.write("ours.pem", "no certificate");
    CHECK(trouble(meeting.files.identity("ours")).starts_with("cannot use the certificate in "));
}

TEST_CASE("a renewed certificate of ours is shown without a restart; what cannot be read leaves the old one") {
    Meeting meeting;
    meeting.files.certify("ours", "old.home.example");
    const auto client = meeting.client(meeting.files.identity("ours")).value();
    REQUIRE(client->refresh());
    meeting.files.certify("ours", "new.home.example");
    REQUIRE(client->refresh());
    CHECK(meeting.meet(*client));
    CHECK(meeting.facts.shown == "CN=new.home.example");
    meeting.files.write("ours.key", "no key at all");
    CHECK_FALSE(client->refresh());
    CHECK(meeting.meet(*client));
    CHECK(meeting.facts.shown == "CN=new.home.example");
}
