/* h2load has no option for a client certificate. Loaded before libssl, this gives one to each TLS context it makes:
 * the files named by CLIENT_CERTIFICATE and CLIENT_KEY, both PEM. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { PEM = 1, DONE = 1 };

static void *next(const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (symbol == NULL) {
        fprintf(stderr, "libssl has no %s\n", name);
        exit(EXIT_FAILURE);
    }
    return symbol;
}

void *SSL_CTX_new(const void *method) {
    void *(*make)(const void *) = next("SSL_CTX_new");
    int (*use_certificate)(void *, const char *) = next("SSL_CTX_use_certificate_chain_file");
    int (*use_key)(void *, const char *, int) = next("SSL_CTX_use_PrivateKey_file");
    const char *certificate = getenv("CLIENT_CERTIFICATE"), *key = getenv("CLIENT_KEY");
    void *context = make(method);

    if (context == NULL || certificate == NULL || key == NULL || use_certificate(context, certificate) != DONE ||
        use_key(context, key, PEM) != DONE) {
        fprintf(stderr, "the client certificate cannot be used\n");
        exit(EXIT_FAILURE);
    }
    return context;
}
