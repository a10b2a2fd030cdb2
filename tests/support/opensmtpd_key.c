/* Preloaded into OpenSMTPD by tests/support/opensmtpd.py.
 *
 * OpenSMTPD keeps its private key in a process of its own and lets the listeners sign through an OpenSSL engine. OpenSSL 3
 * does not ask such an engine for a key that it has parsed itself, so Debian's build breaks off every handshake. Here
 * the listeners get the key itself: each process reads it before it goes into its empty root. What is tested is the
 * SMTP of OpenSMTPD over TLS, not how it keeps its key.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

static EVP_PKEY *key;

__attribute__((constructor)) static void read_key(void) {
    const char *name = getenv("POSTHOUSE_OPENSMTPD_KEY");
    FILE *in = name ? fopen(name, "r") : NULL;
    if (!in) return;
    key = PEM_read_PrivateKey(in, NULL, NULL, NULL);
    fclose(in);
}

int SSL_CTX_use_PrivateKey(SSL_CTX *context, EVP_PKEY *given) {
    typedef int (*Use)(SSL_CTX *, EVP_PKEY *);
    Use real = (Use)dlsym(RTLD_NEXT, "SSL_CTX_use_PrivateKey");
    return real(context, key ? key : given);
}
