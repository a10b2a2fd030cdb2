// A program sends: the message is queued when the answer is 202, and not before.
//
//   POST /api/v1/send            {"from": ..., "to": ..., ...}: admin/http/send_request.h
//   POST /api/v1/send/raw        message/rfc822; the envelope in the query
//   POST /api/v1/send/batch      {"messages": [...]}: an answer for each
// Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): the same key and request again: the first answer.
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <fmt/format.h>

#include <sstream>

#include "admin/http/router.h"
#include "admin/http/send_request.h"
#include "protocols/base/ascii.h"
#include "protocols/base/submission_key.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::admin {
namespace {

using storage::Submission;
using storage::SubmissionOutcome;
using storage::SubmissionRefusal;

constexpr std::size_t kBatchMax = 100;

std::string text_of(const Poco::JSON::Object& object) {
    std::ostringstream text;
    object.stringify(text);
    return text.str() + "\n";
}

Poco::JSON::Array array_of(const std::vector<storage::RecipientVerdict>& recipients) {
    Poco::JSON::Array out;
    for (const storage::RecipientVerdict& one : recipients) {
        Poco::JSON::Object::Ptr row = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
        row->set("address", one.address);
        row->set("accepted", one.is_accepted());
        row->set("code", one.code);
        row->set("status", one.enhanced);
        row->set("detail", one.sentence);
        out.add(row);
    }
    return out;
}

std::string receipt_text(const storage::SubmissionReceipt& receipt) {
    Poco::JSON::Object out(Poco::JSON_PRESERVE_KEY_ORDER);
    out.set("id", receipt.id);
    out.set("message_id", receipt.message_id);
    out.set("recipients", array_of(receipt.recipients));
    return text_of(out);
}

int status_of(SubmissionRefusal::Kind kind) {
    switch (kind) {
        case SubmissionRefusal::Kind::invalid:
        case SubmissionRefusal::Kind::recipients:
        case SubmissionRefusal::Kind::reused_key: return 422;
        case SubmissionRefusal::Kind::denied: return 403;
        case SubmissionRefusal::Kind::too_large: return 413;
        case SubmissionRefusal::Kind::no_space: return 507;
        case SubmissionRefusal::Kind::in_work: return 409;
        case SubmissionRefusal::Kind::unavailable: break;
    }
    return 503;
}

HttpAnswer answer_of(const SubmissionOutcome& outcome, const std::string& prefix = "") {
    HttpAnswer out;
    if (!outcome.refusal) {
        out.status = 202;
        out.body = outcome.answer;
        if (outcome.repeated) out.fields.emplace_back("Idempotency-Replayed", "true");
        return out;
    }
    const SubmissionRefusal& refusal = *outcome.refusal;
    const bool own = refusal.field.empty() || refusal.field == "Idempotency-Key";
    out = problem(status_of(refusal.kind), refusal.sentence, own ? refusal.field : prefix + refusal.field);
    if (outcome.recipients.empty()) return out;
    // RFC 9457 3.2: a member of our own.
    auto object = Poco::JSON::Parser().parse(out.body).extract<Poco::JSON::Object::Ptr>();
    object->set("recipients", array_of(outcome.recipients));
    out.body = text_of(*object);
    return out;
}

std::string digest_of(std::string_view path, std::string_view body) {
    crypto::Sha256 digest;
    digest.update(path);
    digest.update("\n");
    digest.update(body);
    const crypto::Sha256Digest made = digest.finish();
    return {made.begin(), made.end()};
}

/// What every message of one request has in common; nothing where the request's key is none.
std::optional<Submission> begin(const Call& call) {
    Submission out;
    out.account = call.token->account;
    out.login = call.token->account ? call.token->address : call.token->name;
    out.client = call.request.client;
    out.answer = receipt_text;
    if (!call.request.idempotency_key) return out;
    const auto key = parse_submission_key(*call.request.idempotency_key);
    if (!key) return std::nullopt;
    out.key = *key;
    return out;
}

HttpAnswer bad_key() {
    return problem(400,
                   fmt::format("A key is 1 to {} characters of printable ASCII, given once.", kSubmissionKeyOctetsMax),
                   "Idempotency-Key");
}

std::optional<HttpAnswer> refuse_many(const Call& call) {
    if (count_json_values(call.body) <= kJsonValuesMax) return std::nullopt;
    return problem(413, fmt::format("A request may hold {} values; send it in parts.", kJsonValuesMax));
}

HttpAnswer send_message(Call& call) {
    auto submission = begin(call);
    if (!submission) return bad_key();
    if (!call.deps.submit) return problem(503, "Nothing is sent by this process.");
    if (auto many = refuse_many(call)) return *std::move(many);
    const Poco::JSON::Object::Ptr object = parse_json_object(call.body);
    if (!object) return problem(400, "The body is no JSON object, or a member stands in it twice.");
    if (!submission->key.empty()) submission->digest = digest_of("send", call.body);
    std::string().swap(call.body);
    if (const auto wrong = read_message(*object, "", system_random(), *submission)) {
        return problem(422, wrong->sentence, wrong->field);
    }
    return answer_of(call.deps.submit(*std::move(submission)));
}

HttpAnswer send_mail(Call& call) {
    auto submission = begin(call);
    if (!submission) return bad_key();
    if (!call.deps.submit) return problem(503, "Nothing is sent by this process.");
    submission->digest = digest_of(call.request.target, call.body);  // the key may stand in the message too
    if (const auto wrong = read_mail(std::move(call.body), call.query, *submission)) {
        return problem(422, wrong->sentence, wrong->field);
    }
    return answer_of(call.deps.submit(*std::move(submission)));
}

// One of a batch. Each has a key of its own, so that a batch asked again sends what is missing and nothing twice.
HttpAnswer send_one(const Call& call, const Submission& common, const Poco::Dynamic::Var& value, std::size_t at) {
    const std::string place = fmt::format("messages[{}]", at);
    if (call.stopping) return problem(503, "The server is stopping; try again later.");
    if (value.type() != typeid(Poco::JSON::Object::Ptr)) return problem(422, "A message is an object.", place);
    const auto object = value.extract<Poco::JSON::Object::Ptr>();
    Submission one = common;
    if (!one.key.empty()) {
        one.key += fmt::format("#{}", at);
        one.digest = digest_of("batch", text_of(*object));
    }
    if (const auto wrong = read_message(*object, place + ".", system_random(), one)) {
        return problem(422, wrong->sentence, wrong->field);
    }
    return answer_of(call.deps.submit(std::move(one)), place + ".");
}

HttpAnswer send_batch(Call& call) {
    const auto common = begin(call);
    if (!common) return bad_key();
    if (!call.deps.submit) return problem(503, "Nothing is sent by this process.");
    // Each message's key has its number behind it.
    if (!common->key.empty() && !is_submission_key(common->key + "#" + std::to_string(kBatchMax - 1))) return bad_key();
    if (auto many = refuse_many(call)) return *std::move(many);
    const Poco::JSON::Object::Ptr object = parse_json_object(call.body);
    if (!object) return problem(400, "The body is no JSON object, or a member stands in it twice.");
    std::string().swap(call.body);
    const Poco::JSON::Array::Ptr messages = object->getArray("messages");
    if (messages.isNull() || object->size() != 1 || messages->size() == 0 || messages->size() > kBatchMax) {
        return problem(422, fmt::format("The body is messages alone, a list of 1 to {}.", kBatchMax), "messages");
    }
    std::string body = "{\"results\":[";
    std::size_t at = 0;
    for (const Poco::Dynamic::Var& one : *messages) {
        const HttpAnswer made = send_one(call, *common, one, at);
        body += fmt::format("{}{{\"status\":{},\"{}\":{}}}", at == 0 ? "" : ",", made.status,
                            made.status == 202 ? "accepted" : "problem", ascii::trim(made.body));
        ++at;
    }
    HttpAnswer out;
    out.body = body + "]}\n";
    return out;
}

constexpr Endpoint kRows[] = {
    {"POST", "/api/v1/send", Access::token, send_message, Takes::messages},
    {"POST", "/api/v1/send/raw", Access::token, send_mail, Takes::mail},
    {"POST", "/api/v1/send/batch", Access::token, send_batch, Takes::messages},
};

}  // namespace

std::span<const Endpoint> send_endpoints() { return kRows; }

}  // namespace posthouse::admin
