posthouse_unit_test(NAME protocols_crypto ONE_THREAD
  SOURCES protocols/crypto/digest_test.cpp protocols/crypto/public_key_test.cpp protocols/crypto/secret_test.cpp protocols/crypto/signing_test.cpp
          protocols/crypto/stream_seal_test.cpp
  USES protocols_crypto)
target_link_libraries(unit_protocols_crypto PRIVATE OpenSSL::Crypto)
