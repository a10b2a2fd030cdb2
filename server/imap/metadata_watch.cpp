#include "server/imap/metadata_watch.h"

#include "protocols/base/log.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

wire::NotifyProgram all_metadata() {
    wire::NotifyProgram out;
    for (const wire::NotifyFilter filter : {wire::NotifyFilter::personal, wire::NotifyFilter::subscribed}) {
        wire::NotifyGroup& group = out.groups.emplace_back();
        group.filter = filter;
        group.events = wire::kMailboxMetadataChange | wire::kServerMetadataChange;
    }
    return out;
}

}  // namespace

net::Task<Result<Noted>> read_noted(Access& access) {
    CO_TRY(auto listing, co_await access.list(kReadAnnotations));
    Noted out;
    for (MailboxStatus& status : listing.mailboxes) out[status.mailbox.id] = std::move(status.annotations);
    std::string account;  // the name "" stands for it
    CO_TRY(out[MailboxId{}], co_await access.annotations(std::move(account)));
    co_return out;
}

MetadataWatch::MetadataWatch(Hub& hub, storage::AccountId account, net::Event& wake)
    : notifier_(all_metadata(), account, std::vector<Mailbox>()) {
    watches_.watch(hub, account, wake);
}

net::Task<Result<>> MetadataWatch::begin(Access& access) {
    const NotifyDialect any;
    co_return co_await look(nullptr, access, any);
}

net::Task<void> MetadataWatch::tell(std::string& out, Access& access, NotifyDialect dialect) {
    if (watches_.generation() == seen_) co_return;
    const auto told = co_await look(&out, access, dialect);
    if (!told) log::warn("imap", "could not look for news of metadata: {}", told.error().context);
}

net::Task<Result<>> MetadataWatch::look(std::string* out, Access& access, NotifyDialect dialect) {
    const std::uint64_t generation = watches_.generation();
    CO_TRY(auto mailboxes, co_await access.mailboxes());
    CO_TRY(auto noted, co_await read_noted(access));
    std::string of_names;  // nothing of names was asked for
    notifier_.take_changes(of_names, std::move(mailboxes), MailboxId{}, dialect);
    if (out == nullptr)
        notifier_.keep_metadata(std::move(noted));
    else
        notifier_.take_metadata(*out, std::move(noted), dialect);
    seen_ = generation;
    co_return Result<>();
}

}  // namespace posthouse::server::imap
