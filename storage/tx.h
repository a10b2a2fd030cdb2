#pragma once
/// storage/tx (internal): one write and one snapshot, put together from their parts.
#include <list>
#include <memory>

#include "storage/catalog_impl.h"
#include "storage/context.h"
#include "storage/events_impl.h"
#include "storage/imports_impl.h"
#include "storage/mail_impl.h"
#include "storage/queue_impl.h"
#include "storage/shared_mail.h"
#include "storage/store.h"

namespace posthouse::storage {

/// The parts over one context; mail views are made when they are first asked for.
class Parts {
 public:
    explicit Parts(Context& context)
        : context_(context), catalog_(context), queue_(context), events_(context), imports_(context) {}
    MailImpl& mail(AccountId account) const {
        for (MailImpl& known : mails_) {
            if (known.account() == account) return known;
        }
        return mails_.emplace_back(context_, account);
    }
    SharedMail& shared_mail(AccountId acting) const {
        for (SharedMail& known : shared_) {
            if (known.acting() == acting) return known;
        }
        return shared_.emplace_back(*this, context_, acting);
    }
    CatalogImpl& catalog() { return catalog_; }
    QueueImpl& queue() { return queue_; }
    EventsImpl& events() { return events_; }
    ImportsImpl& imports() { return imports_; }
    const CatalogImpl& catalog() const { return catalog_; }
    const QueueImpl& queue() const { return queue_; }
    const EventsImpl& events() const { return events_; }
    const ImportsImpl& imports() const { return imports_; }

 private:
    Context& context_;
    CatalogImpl catalog_;
    QueueImpl queue_;
    EventsImpl events_;
    ImportsImpl imports_;
    mutable std::list<MailImpl> mails_;  ///< a list: references stay good
    mutable std::list<SharedMail> shared_;
};

class TxImpl final : public Tx {
 public:
    TxImpl(Connection& db, SegmentReaders& segments, WriteState& state)
        : state_(state), context_{db, segments, &state}, parts_(context_) {}

    Time now() const override { return state_.now; }
    CatalogTx& catalog() override { return parts_.catalog(); }
    MailTx& mail(AccountId account) override { return parts_.mail(account); }
    MailTx& shared_mail(AccountId acting) override { return parts_.shared_mail(acting); }
    QueueTx& queue() override { return parts_.queue(); }
    EventTx& events() override { return parts_.events(); }
    ImportTx& imports() override { return parts_.imports(); }
    Result<MessageId> add_message(const StagedBodyPtr& body, const mime::MessageFacts& facts) override;
    Result<Accepted> deliver(const Delivery& delivery) override;

    Context& context() { return context_; }
    /// After the closure succeeded: finished queue items and messages without a reference go.
    Result<> settle();

 private:
    Result<> write_received(const Delivery& delivery, MessageId message);
    Result<> write_filed(MessageId message, std::string_view sender, Uid uid);

    WriteState& state_;
    Context context_;
    Parts parts_;
};

class SnapshotImpl final : public Snapshot {
 public:
    SnapshotImpl(Connection& db, SegmentReaders& segments) : context_{db, segments, nullptr}, parts_(context_) {}

    const CatalogView& catalog() const override { return parts_.catalog(); }
    const MailView& mail(AccountId account) const override { return parts_.mail(account); }
    const MailView& shared_mail(AccountId acting) const override { return parts_.shared_mail(acting); }
    const QueueView& queue() const override { return parts_.queue(); }
    const EventView& events() const override { return parts_.events(); }
    const ImportView& imports() const override { return parts_.imports(); }
    const Context& context() const { return context_; }

 private:
    Context context_;
    Parts parts_;
};

}  // namespace posthouse::storage
