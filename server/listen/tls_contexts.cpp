#include "server/listen/tls_contexts.h"

namespace posthouse::server {

Result<TlsContexts> TlsContexts::load(const std::string& certificate_file, const std::string& key_file) {
    const auto one = [&](std::string name, std::vector<std::string> alpn) {
        return net::TlsServerContext::load(std::move(name), certificate_file, key_file, std::move(alpn));
    };
    TlsContexts out;
    TRY(out.smtp, one("smtp", {"smtp"}));
    TRY(out.submission, one("submission", {"smtp"}));
    TRY(out.submissions, one("submissions", {"smtp"}));
    TRY(out.imap, one("imap", {"imap"}));
    TRY(out.imaps, one("imaps", {"imap"}));
    TRY(out.https, one("https", {"http/1.1"}));
    return out;
}

}  // namespace posthouse::server
