posthouse_unit_test(NAME protocols_net
  SOURCES protocols/net/address_test.cpp protocols/net/buffered_stream_test.cpp protocols/net/connect_rate_test.cpp
          protocols/net/dane_test.cpp
          protocols/net/deflate_test.cpp
          protocols/net/listener_test.cpp
          protocols/net/loop_test.cpp protocols/net/offload_test.cpp protocols/net/tcp_test.cpp
          protocols/net/tls_identity_test.cpp protocols/net/tls_test.cpp protocols/net/url_test.cpp
          protocols/net/watch_test.cpp
  USES protocols_net protocols_crypto)
# tls_test plays clients that our own code does not have: ALPN offers and kept session tickets.
target_link_libraries(unit_protocols_net PRIVATE OpenSSL::SSL OpenSSL::Crypto)
