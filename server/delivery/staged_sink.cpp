#include "server/delivery/staged_sink.h"

#include <algorithm>

namespace posthouse::server {

namespace {

// A body is written from its front to its end: what comes in between makes another one of it.
Result<storage::StagedBodyPtr> with_fields(storage::BodyWriter& writer, const storage::StagedBody& body,
                                           std::string_view fields) {
    const std::string_view all = body.view();
    const std::size_t first = std::min(all.find("\r\n") + 2, all.size());
    TRY_VOID(writer.append(all.substr(0, first)));
    TRY_VOID(writer.append(fields));
    TRY_VOID(writer.append(all.substr(first)));
    return writer.finish();
}

class Sink final : public StagedSink {
 public:
    Sink(storage::Store& store, net::ThreadPool& pool, net::Loop& loop)
        : pool_(pool), loop_(loop), writer_(store.stage()) {}

    Result<> append(std::string_view octets) override { return writer_->append(octets); }
    Result<smtp::SharedOctets> octets() override {
        TRY(staged_, writer_->finish());
        return smtp::SharedOctets(staged_, staged_->view());
    }
    net::Task<Result<>> add_fields(std::string fields) override {
        Result<storage::StagedBodyPtr> made = storage::StagedBodyPtr();
        if (staged_->size_octets() <= storage::kSpoolOctets) {
            made = with_fields(*writer_, *staged_, fields);
        } else {
            // Whoever waits may be gone before it is done.
            auto copy = [writer = writer_, staged = staged_, fields] { return with_fields(*writer, *staged, fields); };
            made = co_await net::offload(pool_, loop_, std::move(copy));
        }
        if (!made) co_return Error(made.error());
        staged_ = *std::move(made);
        co_return Result<>();
    }
    Result<storage::StagedBodyPtr> finish() override {
        if (staged_) return std::move(staged_);
        return writer_->finish();
    }

 private:
    net::ThreadPool& pool_;
    net::Loop& loop_;
    std::shared_ptr<storage::BodyWriter> writer_;
    storage::StagedBodyPtr staged_;
};

}  // namespace

std::unique_ptr<StagedSink> make_staged_sink(storage::Store& store, net::ThreadPool& pool, net::Loop& loop) {
    return std::make_unique<Sink>(store, pool, loop);
}

}  // namespace posthouse::server
