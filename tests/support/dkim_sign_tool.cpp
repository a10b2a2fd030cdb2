// Signs the message on standard input (CRLF) with fresh keys of both algorithms, for judges that are not ours:
//     dkim_sign_tool DOMAIN < message > signed
// Prints first one line "NAME TXT-VALUE" a key, then an empty line, then the signed message.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>

#include "protocols/mailauth/dkim.h"
#include "protocols/mime/header.h"

using namespace posthouse;

namespace {

Result<std::string> sign(const std::string& domain, const std::string& message) {
    TRY_VOID(crypto::init());
    TRY(const auto rsa, crypto::SigningKey::generate(crypto::SigningAlgorithm::rsa_sha256));
    TRY(const auto ed25519, crypto::SigningKey::generate(crypto::SigningAlgorithm::ed25519_sha256));
    std::vector<mailauth::DkimSigner> signers(2);
    signers[0].domain = signers[1].domain = domain;
    signers[0].selector = "r1";
    signers[0].key = &rsa;
    signers[1].selector = "e1";
    signers[1].key = &ed25519;
    const std::size_t header_octets = mime::find_header_end(message);
    mailauth::MessageSource source;
    source.header_block = std::string_view(message).substr(0, header_octets);
    std::string_view rest = std::string_view(message).substr(header_octets);
    source.next_piece = [&rest]() -> Result<std::string_view> {
        const std::string_view piece = rest.substr(0, 1000);
        rest.remove_prefix(piece.size());
        return piece;
    };
    TRY(const std::string fields,
        mailauth::sign_dkim(signers, source, mailauth::SigningEnvelope(), system_clock().now()));
    return fmt::format("r1._domainkey.{0} {1}\ne1._domainkey.{0} {2}\n\n{3}{4}", domain, mailauth::dkim_dns_record(rsa),
                       mailauth::dkim_dns_record(ed25519), fields, message);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fputs("usage: dkim_sign_tool DOMAIN < message\n", stderr);
        return 2;
    }
    const std::string message{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
    const auto out = sign(argv[1], message);
    if (!out) {
        std::fprintf(stderr, "%s\n", out.error().context.c_str());
        return 1;
    }
    std::fwrite(out->data(), 1, out->size(), stdout);
    return 0;
}
