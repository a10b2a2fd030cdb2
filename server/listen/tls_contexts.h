#pragma once
/// server/listen/tls_contexts: the certificate as each service shows it. Contexts are apart, so that a ticket of one
/// service is no good at another; all read the same two files, again at each reload.
/// Threads: the loop's.
#include <memory>
#include <string>
#include <vector>

#include "protocols/net/tls.h"

namespace posthouse::server {

struct TlsContexts {
    std::unique_ptr<net::TlsServerContext> smtp, submission, submissions, imap, imaps, https;

    static Result<TlsContexts> load(const std::string& certificate_file, const std::string& key_file);
    std::vector<net::TlsServerContext*> all() {
        return {smtp.get(), submission.get(), submissions.get(), imap.get(), imaps.get(), https.get()};
    }
};

}  // namespace posthouse::server
