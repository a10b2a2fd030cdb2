// Asio's own sources, compiled once (BOOST_ASIO_SEPARATE_COMPILATION is set for the whole house).
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <boost/asio/impl/src.hpp>
#pragma clang diagnostic pop
