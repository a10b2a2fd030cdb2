#include "protocols/mime/compose.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/encoding.h"

namespace posthouse::mime {
namespace {

constexpr std::size_t kLineOctetsMax = 998;       // RFC 5322 2.1.1
constexpr std::size_t kPlainLineOctetsMax = 900;  // longer ones are encoded, so that nobody on the way has to fold them
constexpr std::size_t kBase64Line = 76;           // RFC 2045 6.8
constexpr std::size_t kParameterOctets = 60;      // of a value in one piece

struct Entity {
    std::vector<std::pair<std::string, HeaderValue>> headers;
    std::string body;
};

std::size_t longest_line(std::string_view text) {
    std::size_t longest = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find("\r\n"), text.size());
        longest = std::max(longest, end);
        text.remove_prefix(std::min(end + 2, text.size()));
    }
    return longest;
}

void add(Entity& entity, std::string_view name, std::string_view value) {
    entity.headers.emplace_back(std::string(name), HeaderValue::cleaned(value));
}

Entity text_entity(std::string_view subtype, std::string_view utf8) {
    std::string text = normalise_crlf(utf8);
    if (!text.ends_with("\r\n")) text += "\r\n";
    const auto wide = static_cast<std::size_t>(std::ranges::count_if(text, ascii::is_8bit));
    const bool controls =
        std::ranges::any_of(text, [](char c) { return ascii::is_control(c) && c != '\r' && c != '\n' && c != '\t'; });
    Entity out;
    add(out, "Content-Type", fmt::format("text/{}; charset={}", subtype, wide == 0 ? "us-ascii" : "utf-8"));
    if (wide == 0 && !controls && longest_line(text) <= kPlainLineOctetsMax) {
        add(out, "Content-Transfer-Encoding", "7bit");
        out.body = std::move(text);
    } else if (wide > text.size() / 3) {
        add(out, "Content-Transfer-Encoding", "base64");
        out.body = encode_base64(text, kBase64Line);
    } else {
        add(out, "Content-Transfer-Encoding", "quoted-printable");
        out.body = encode_quoted_printable(text);
    }
    return out;
}

Result<Entity> file_entity(const DraftFile& file) {
    Entity out;
    std::string type = fmt::format("{}/{}", file.type.type, file.type.subtype);
    for (const Parameter& parameter : file.type.parameters) type += format_parameter(parameter.name, parameter.value);
    if (!file.name.empty()) type += format_parameter("name", file.name);
    add(out, "Content-Type", type);
    std::string disposition = file.shown_inline ? "inline" : "attachment";
    if (!file.name.empty()) disposition += format_parameter("filename", file.name);
    add(out, "Content-Disposition", disposition);
    if (!file.content_id.empty()) add(out, "Content-ID", fmt::format("<{}>", file.content_id));
    if (!ascii::equals_ci(file.type.type, "message")) {
        add(out, "Content-Transfer-Encoding", "base64");
        out.body = encode_base64(file.content, kBase64Line);
        return out;
    }
    // RFC 2046 5.2.1: a message within a message is not encoded.
    out.body = normalise_crlf(file.content);
    if (longest_line(out.body) > kLineOctetsMax || out.body.contains('\0')) {
        return Error(Errc::invalid, "the message in the file has lines that are too long for mail, or a NUL");
    }
    add(out, "Content-Transfer-Encoding", ascii::has_8bit(out.body) ? "8bit" : "7bit");
    return out;
}

Entity multipart(std::string_view subtype, std::vector<Entity> entities, std::string_view parameters, Random& random) {
    const std::string boundary = make_boundary(random);
    std::vector<BodyPart> parts;
    for (Entity& one : entities) parts.push_back(BodyPart(std::move(one.headers), std::move(one.body)));
    Entity out;
    add(out, "Content-Type", fmt::format("multipart/{}{}; boundary=\"{}\"", subtype, parameters, boundary));
    out.body = assemble_multipart(boundary, parts);
    return out;
}

// HTML with what it shows (RFC 2387).
Result<Entity> html_entity(const Draft& draft, Random& random) {
    std::vector<Entity> parts;
    parts.push_back(text_entity("html", draft.html));
    for (const DraftFile& file : draft.files) {
        if (file.content_id.empty()) continue;
        TRY(Entity one, file_entity(file));
        parts.push_back(std::move(one));
    }
    if (parts.size() == 1) return std::move(parts.front());
    return multipart("related", std::move(parts), "; type=\"text/html\"", random);
}

Result<Entity> body_entity(const Draft& draft, Random& random) {
    if (draft.html.empty()) return text_entity("plain", draft.text);
    TRY(Entity html, html_entity(draft, random));
    if (draft.text.empty()) return html;
    std::vector<Entity> parts;
    parts.push_back(text_entity("plain", draft.text));
    parts.push_back(std::move(html));
    return multipart("alternative", std::move(parts), "", random);
}

bool is_attribute_octet(char c) {
    return ascii::is_alnum(c) || std::string_view("!#$&+-.^_`{}~|").contains(c);  // RFC 2231 7: no * ' %
}

// attribute*0*=utf-8''pieces; attribute*1*=...                            RFC 2231 3, 4
std::string extended_parameter(std::string_view name, std::string_view utf8) {
    std::vector<std::string> pieces(1);
    for (const char c : utf8) {
        const std::string one =
            is_attribute_octet(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
        if (pieces.back().size() + one.size() > kParameterOctets) pieces.emplace_back();
        pieces.back() += one;
    }
    if (pieces.size() == 1) return fmt::format("; {}*=utf-8''{}", name, pieces.front());
    std::string out;
    for (std::size_t at = 0; at < pieces.size(); ++at) {
        out += fmt::format("; {}*{}*={}{}", name, at, at == 0 ? "utf-8''" : "", pieces[at]);
    }
    return out;
}

}  // namespace

bool is_mime_token(std::string_view text) {
    const auto fits = [](char c) {
        return ascii::is_printable(c) && c != ' ' && !std::string_view("()<>@,;:\\\"/[]?=").contains(c);
    };
    return !text.empty() && std::ranges::all_of(text, fits);
}

bool is_field_name(std::string_view text) {
    const auto fits = [](char c) { return ascii::is_printable(c) && c != ' ' && c != ':'; };
    return !text.empty() && std::ranges::all_of(text, fits);
}

std::string format_parameter(std::string_view name, std::string_view utf8) {
    const bool plain = std::ranges::all_of(utf8, ascii::is_printable) && utf8.size() <= kParameterOctets;
    if (!plain) return extended_parameter(name, utf8);
    if (is_mime_token(utf8)) return fmt::format("; {}={}", name, utf8);
    std::string quoted;
    for (const char c : utf8) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return fmt::format("; {}=\"{}\"", name, quoted);
}

HeaderValue format_address_list(std::span<const Address> addresses) {
    std::string out;
    for (const Address& one : addresses) out += (out.empty() ? "" : ", ") + format_address(one);
    return HeaderValue::cleaned(out);
}

Result<std::string> compose(const Draft& draft, Random& random) {
    TRY(Entity root, body_entity(draft, random));
    std::vector<Entity> parts;
    parts.push_back(std::move(root));
    for (const DraftFile& file : draft.files) {
        if (!draft.html.empty() && !file.content_id.empty()) continue;
        TRY(Entity one, file_entity(file));
        parts.push_back(std::move(one));
    }
    Entity whole = parts.size() == 1 ? std::move(parts.front()) : multipart("mixed", std::move(parts), "", random);
    std::string out;
    for (const auto& [name, value] : draft.headers) out += format_field(name, value);
    out += "MIME-Version: 1.0\r\n";
    for (const auto& [name, value] : whole.headers) out += format_field(name, value);
    out += "\r\n";
    return out += whole.body;
}

}  // namespace posthouse::mime
