#include "server/delivery/list_copies.h"

#include <algorithm>

#include "protocols/mime/facts.h"
#include "protocols/mime/header.h"
#include "protocols/policy/one_click.h"
#include "storage/await.h"

namespace posthouse::server {

namespace {

using Copies = std::vector<std::shared_ptr<const storage::OwnOctets>>;

std::string with_crlf(std::string_view lines) {
    std::string out;
    for (const char c : lines) out.append(c == '\n' ? "\r\n" : std::string_view(&c, 1));
    return out;
}

// The same message, the fields behind its first one, which is ours (Return-Path), and in place of its own of that name:
// two of a kind would be read either way.
Result<std::shared_ptr<const storage::OwnOctets>> make_copy(storage::Store& store, std::string_view message,
                                                            const std::string& fields) {
    const std::size_t first = std::min(message.find("\r\n") + 2, message.size());
    const auto writer = store.stage();
    static const std::vector<std::string> kOurs = {"List-Unsubscribe", "List-Unsubscribe-Post"};
    const std::size_t end = std::max(mime::find_header_end(message), first);
    TRY_VOID(writer->append(message.substr(0, first)));
    TRY_VOID(writer->append(fields));
    TRY_VOID(writer->append(mime::select_fields(message.substr(first, end - first), kOurs, mime::Matching::except)));
    TRY_VOID(writer->append(message.substr(end)));
    auto out = std::make_shared<storage::OwnOctets>();
    TRY(out->body, writer->finish());
    out->facts = mime::compute_facts(out->body->view());
    return std::shared_ptr<const storage::OwnOctets>(std::move(out));
}

}  // namespace

net::Task<Result<>> make_list_copies(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                     std::string hostname, storage::Stream stream, storage::Delivery& delivery,
                                     std::vector<storage::StagedBodyPtr>& bodies) {
    if (!stream.is_list || delivery.local.empty()) co_return Result<>();
    std::vector<std::string> addresses;
    for (const storage::LocalCopy& copy : delivery.local) addresses.push_back(copy.recipient);
    auto note = [addresses, name = stream.name](storage::Tx& tx) -> Result<> {
        for (const std::string& address : addresses) TRY_VOID(storage::StreamTx(tx).subscribe(name, address));
        return {};
    };
    std::vector<storage::StagedBodyPtr> no_bodies;
    CO_TRY_VOID(co_await storage::commit(store, loop, std::move(no_bodies), std::move(note)));
    auto make = [&store, addresses, stream, hostname = std::move(hostname),
                 body = delivery.body](const storage::Snapshot& snapshot) -> Result<Copies> {
        TRY(const std::string url, storage::unsubscribe_url(snapshot.catalog(), hostname));
        const std::string domain = stream.owner.substr(stream.owner.rfind('@') + 1);
        Copies out;
        for (const std::string& address : addresses) {
            TRY(const std::string token,
                storage::StreamView(snapshot).token(stream.name, address, store.sealing_key()));
            const std::string fields = with_crlf(policy::one_click_fields(url, token, domain));
            TRY(out.emplace_back(), make_copy(store, body->view(), fields));
        }
        return out;
    };
    CO_TRY(const Copies copies, co_await storage::read(store, pool, loop, std::move(make)));
    for (std::size_t i = 0; i < copies.size(); ++i) {
        delivery.local[i].own = copies[i];
        bodies.push_back(copies[i]->body);
    }
    co_return Result<>();
}

}  // namespace posthouse::server
