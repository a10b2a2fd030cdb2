#include "admin/oidc/web.h"

#include <array>

#include <Poco/Net/Context.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPSClientSession.h>
#include <Poco/Net/NetException.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using Poco::Net::HTTPRequest;
using Poco::Net::HTTPResponse;

constexpr int kChainDepthMax = 9;

Poco::Net::Context::Ptr make_context(const std::string& ca_file) {
    Poco::Net::Context::Params params;
    params.caLocation = ca_file;
    params.loadDefaultCAs = ca_file.empty();
    params.verificationMode = Poco::Net::Context::VERIFY_STRICT;  // also for names of this machine
    params.verificationDepth = kChainDepthMax;
    auto context = Poco::Net::Context::Ptr(new Poco::Net::Context(Poco::Net::Context::TLS_CLIENT_USE, params));
    context->requireMinimumProtocol(Poco::Net::Context::PROTO_TLSV1_2);
    context->enableExtendedCertificateVerification(true);
    return context;
}

// Up to the limit, and no octet more is asked for.
Result<std::string> read_body(std::istream& in, std::chrono::steady_clock::time_point end) {
    std::string out;
    std::array<char, 4096> piece{};
    while (in.good() && out.size() <= kWebOctetsMax) {
        if (std::chrono::steady_clock::now() > end) return Error(Errc::unavailable, "it answers too slowly");
        in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
        out.append(piece.data(), static_cast<std::size_t>(in.gcount()));
    }
    if (out.size() > kWebOctetsMax) return Error(Errc::unavailable, "its answer is too long");
    return out;
}

Result<std::string> exchange(const WebRequest& request, const Poco::URI& uri) {
    const auto end = std::chrono::steady_clock::now() + kWebTimeMax;
    Poco::Net::HTTPSClientSession session(uri.getHost(), uri.getPort(), make_context(request.ca_file));
    session.setTimeout(Poco::Timespan(kWebTimeMax.count(), 0));
    session.setKeepAlive(false);
    const std::string target = uri.getPathAndQuery().empty() ? "/" : uri.getPathAndQuery();
    HTTPRequest question(request.form.empty() ? HTTPRequest::HTTP_GET : HTTPRequest::HTTP_POST, target,
                         HTTPRequest::HTTP_1_1);
    question.set("Accept", "application/json");
    question.set("User-Agent", "Posthouse");
    if (!request.authorization.empty()) question.set("Authorization", request.authorization);
    if (!request.form.empty()) {
        question.setContentType("application/x-www-form-urlencoded");
        question.setContentLength(static_cast<std::streamsize>(request.form.size()));
    }
    session.sendRequest(question) << request.form;
    HTTPResponse answer;
    std::istream& body = session.receiveResponse(answer);
    if (answer.getStatus() != HTTPResponse::HTTP_OK) {
        return Error(Errc::unavailable, fmt::format("it answered {}", static_cast<int>(answer.getStatus())));
    }
    return read_body(body, end);
}

}  // namespace

Result<std::string> fetch_web(const WebRequest& request) {
    Result<std::string> out = Error(Errc::unavailable, "");
    try {
        const Poco::URI uri(request.url);
        if (uri.getScheme() != "https" || uri.getHost().empty() || !uri.getUserInfo().empty()) {
            return Error(Errc::unavailable, fmt::format("{} is no https URL", request.url));
        }
        out = exchange(request, uri);
    } catch (const Poco::Exception& e) {
        out = Error(Errc::unavailable, e.displayText());
    }
    if (!out) return Error(Errc::unavailable, fmt::format("{} is of no use: {}", request.url, out.error().context));
    return out;
}

std::string form_encode(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (ascii::is_alnum(c) || std::string_view("-._*").contains(c)) {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

}  // namespace posthouse::admin
