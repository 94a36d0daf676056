// SPDX-License-Identifier: Apache-2.0
/* The parts of the s3 backend that need no server: XML, what errors mean, credentials, addresses, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "s3.h"
#include "s3_xml.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- XML ----------------------------------------------------------------------------------------- */

static int append(void *arg, const char *path, const char *text)
{
    char *all = arg;
    strcat(all, path);
    strcat(all, "=");
    strcat(all, text);
    strcat(all, ";");
    return strcmp(text, "stop") == 0 ? 77 : 0;
}

static int read_xml(const char *xml, char all[1024])
{
    *all = '\0';
    return s3_xml_each(xml, strlen(xml), append, all);
}

static void test_xml(void **state)
{
    (void)state;
    char all[1024];
    assert_int_equal(read_xml("<?xml version='1.0'?>\n<a xmlns='urn:x'><b>1&amp;2</b><c/><b><d> 3 </d></b></a>", all), 0);
    assert_string_equal(all, "a/b=1&2;a/c=;a/b/d= 3 ;a/b=;a=;");
    assert_int_equal(read_xml("<a><b>stop</b><c>more</c></a>", all), 77);
    assert_string_equal(all, "a/b=stop;");
    assert_int_equal(read_xml("<a/>", all), 0);
}

static void test_bad_xml(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "text", "<a>", "<a></b>", "<a/><b/>", "<a>&no;</a>", "<html><br></html>", "\xff\xfe", "{\"a\": 1}",
        "<!DOCTYPE a><a/>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<a>\x01</a>",
    };
    char all[1024];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_xml(bad[i], all), -EPROTO);
}

static void test_large_xml(void **state)
{
    (void)state;
    static char all[1024], deep[4096], text[20100];
    for (int i = 0; i < 1000; i++)
        strcat(deep, "<a>");
    assert_int_equal(read_xml(deep, all), -EPROTO);
    strcpy(text, "<a>");
    memset(text + 3, 'x', 20000);
    strcat(text, "</a>");
    assert_int_equal(read_xml(text, all), -EPROTO);
}

/* ---- errors -------------------------------------------------------------------------------------- */

static int error_of(long status, const char *body, char code[S3_CODE_ROOM])
{
    struct s3_answer answer = {.host = "host", .status = status, .body = body, .length = strlen(body)};
    return s3_answer_error(&answer, code);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *name;
        int error;
    } cases[] = {
        {404, "NoSuchKey", -ENOENT},       {404, "NoSuchBucket", -ENOENT},      {403, "AccessDenied", -EACCES},
        {403, "QuotaExceeded", -EDQUOT},   {503, "SlowDown", -EAGAIN},          {400, "RequestTimeout", -EAGAIN},
        {409, "BucketNotEmpty", -ENOTEMPTY}, {412, "PreconditionFailed", -EEXIST}, {400, "InvalidBucketName", -EINVAL},
        {400, "NeverHeardOf", -EIO},       {500, "NeverHeardOf", -EAGAIN},      {403, "NeverHeardOf", -EACCES},
        {500, "NoSuchKey", -EAGAIN},       {403, "NoSuchKey", -EACCES},         {400, "NoSuchBucket", -EIO},
        {409, "ConditionalRequestConflict", -EAGAIN},
        {404, "NeverHeardOf", -EIO},       {400, "EntityTooLarge", -EFBIG},     {403, "RequestTimeTooSkewed", -EACCES},
    };
    char body[200], code[S3_CODE_ROOM];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(body, sizeof body, "<Error><Code>%s</Code><Message>m</Message></Error>", cases[i].name);
        assert_int_equal(error_of(cases[i].status, body, code), cases[i].error);
        assert_string_equal(code, cases[i].name);
        assert_non_null(strstr(dn_error_text(cases[i].error), cases[i].name));
    }
}

/* What is not S3's is never "absent". */
static void test_errors_of_others(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "<html>Not Found</html>", "NoSuchKey", "<Code>NoSuchKey</Code>",
                                         "<Error><Code>NoSuchKey</Code>", "<Error><Code></Code></Error>"};
    static const struct {
        long status;
        int error;
    } cases[] = {{404, -EIO}, {400, -EIO}, {403, -EACCES}, {401, -EACCES}, {429, -EAGAIN}, {500, -EAGAIN},
                 {501, -EIO}, {502, -EAGAIN}, {507, -ENOSPC}, {302, -EIO}, {199, -EIO}, {413, -EFBIG}};
    char code[S3_CODE_ROOM];
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            assert_int_equal(error_of(cases[k].status, bodies[i], code), cases[k].error);
            assert_string_equal(code, "");
        }
    }
}

static void test_other_region(void **state)
{
    (void)state;
    char code[S3_CODE_ROOM];
    struct s3_answer answer = {.host = "host", .status = 301, .body = "", .region = "eu-west-3"};
    assert_int_equal(s3_answer_error(&answer, code), -EIO);
    assert_non_null(strstr(dn_error_text(-EIO), "set region=eu-west-3"));
    assert_int_equal(error_of(400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>",
                              code), -EIO);
    assert_non_null(strstr(dn_error_text(-EIO), "set region=us-west-2"));
}

/* ---- credentials ---------------------------------------------------------------------------------- */

static char folder[] = P_tmpdir "/dosna-s3-XXXXXX";
static char shared_path[64], config_path[64];

static void write_file(const char *path, const char *text)
{
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, path), 0);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(shared_path, sizeof shared_path, "%s/credentials", folder);
    snprintf(config_path, sizeof config_path, "%s/config", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(shared_path);
    unlink(config_path);
    return rmdir(folder);
}

static int clean_environment(void **state)
{
    (void)state;
    static const char *const names[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                        "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    setenv("AWS_SHARED_CREDENTIALS_FILE", shared_path, 1);
    setenv("AWS_CONFIG_FILE", config_path, 1);
    unlink(shared_path);
    unlink(config_path);
    return 0;
}

#define assert_keys(credentials, access_, secret_, token_)                                          \
    do {                                                                                            \
        const struct s3_keys *keys_ = s3_credentials_lock(credentials);                             \
        assert_string_equal(keys_->access, access_);                                                \
        assert_string_equal(keys_->secret, secret_);                                                \
        assert_string_equal(keys_->token ? keys_->token : "", token_);                              \
        s3_credentials_unlock(credentials);                                                         \
    } while (0)

static void test_environment(void **state)
{
    (void)state;
    struct s3_credentials *credentials;
    write_file(shared_path, "[default]\naws_access_key_id = fa\naws_secret_access_key = fs\n[other]\n"
                            "aws_access_key_id = oa\naws_secret_access_key = os\n");
    setenv("AWS_ACCESS_KEY_ID", "ea", 1);
    assert_int_equal(s3_credentials_new("default", &credentials), -EINVAL);
    setenv("AWS_SECRET_ACCESS_KEY", "es", 1);
    assert_int_equal(s3_credentials_new("default", &credentials), 0);
    assert_keys(credentials, "ea", "es", "");
    assert_false(s3_credentials_renew(credentials, 0));
    s3_credentials_free(credentials);
    setenv("AWS_SESSION_TOKEN", "et", 1);
    assert_int_equal(s3_credentials_new(NULL, &credentials), 0);
    assert_keys(credentials, "ea", "es", "et");
    s3_credentials_free(credentials);
    assert_int_equal(s3_credentials_new("other", &credentials), 0);
    assert_keys(credentials, "oa", "os", "");
    s3_credentials_free(credentials);
}

static void test_files(void **state)
{
    (void)state;
    char token[3000], text[4000];
    struct s3_credentials *credentials;
    memset(token, 't', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    snprintf(text, sizeof text,
             "# comment\n; another\naws_access_key_id = nowhere\n[other]\naws_access_key_id = oa\n[default]\r\n"
             "  aws_access_key_id = nested\naws_access_key_id=da\r\naws_secret_access_key = d/s+=#;\r\n"
             "aws_session_token = %s\nnonsense\n[last]\naws_access_key_id = la",
             token);
    write_file(shared_path, text);
    write_file(config_path, "[default]\nregion = eu-1\n[profile other]\naws_secret_access_key = os\n[last]\n"
                            "aws_secret_access_key = no\n");
    assert_int_equal(s3_credentials_new("default", &credentials), 0);
    assert_keys(credentials, "da", "d/s+=#;", token);
    assert_string_equal(s3_credentials_lock(credentials)->region, "eu-1");
    s3_credentials_unlock(credentials);
    s3_credentials_free(credentials);
    assert_int_equal(s3_credentials_new("other", &credentials), 0);
    assert_keys(credentials, "oa", "os", "");
    s3_credentials_free(credentials);
    setenv("AWS_PROFILE", "other", 1);
    assert_int_equal(s3_credentials_new("default", &credentials), 0);
    assert_keys(credentials, "oa", "os", "");
    s3_credentials_free(credentials);
    assert_int_equal(s3_credentials_new("last", &credentials), -EINVAL);
    assert_int_equal(s3_credentials_new("none", &credentials), -EINVAL);
    unsetenv("AWS_PROFILE");
    unlink(shared_path);
    assert_int_equal(s3_credentials_new("default", &credentials), -EACCES);
}

static void test_renewal(void **state)
{
    (void)state;
    struct s3_credentials *credentials;
    write_file(shared_path, "[default]\naws_access_key_id = a1\naws_secret_access_key = s1\n");
    assert_int_equal(s3_credentials_new("default", &credentials), 0);
    unsigned first = s3_credentials_lock(credentials)->generation;
    s3_credentials_unlock(credentials);
    assert_false(s3_credentials_renew(credentials, first));
    write_file(shared_path, "[default]\naws_access_key_id = half\n");
    assert_false(s3_credentials_renew(credentials, first));
    assert_keys(credentials, "a1", "s1", "");
    write_file(shared_path, "[default]\naws_access_key_id = a2\naws_secret_access_key = s2\n");
    assert_true(s3_credentials_renew(credentials, first));
    assert_keys(credentials, "a2", "s2", "");
    assert_true(s3_credentials_renew(credentials, first)); /* somebody else was refused with the old ones */
    s3_credentials_free(credentials);
}

/* ---- addresses ------------------------------------------------------------------------------------ */

static void check_url(const char *endpoint, const char *region, const char *bucket, const char *key,
                      const char *query, const char *want)
{
    struct s3_settings settings = {.endpoint_url = endpoint, .region = region};
    struct s3_client *client;
    assert_int_equal(s3_client_new(&settings, &client), 0);
    char *url = s3_client_url(client, bucket, key, query);
    assert_string_equal(url, want);
    free(url);
    s3_client_free(client);
}

static void set_keys(void)
{
    setenv("AWS_ACCESS_KEY_ID", "a", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
}

static void test_urls(void **state)
{
    (void)state;
    set_keys();
    check_url("http://h:9000", NULL, "b", "0.1", NULL, "http://h:9000/b/0.1");
    check_url("http://h:9000/", NULL, "b", NULL, "x=1", "http://h:9000/b?x=1");
    check_url("https://10.0.0.1", NULL, NULL, NULL, NULL, "https://10.0.0.1/");
    check_url("http://[::1]:80", NULL, "b", "k", NULL, "http://[::1]:80/b/k");
    check_url("h:9000", NULL, "b", "k", NULL, "https://h:9000/b/k");
    check_url(NULL, NULL, "b", "0", NULL, "https://b.s3.us-east-1.amazonaws.com/0");
    check_url(NULL, "eu-west-3", "b", NULL, "delete=", "https://b.s3.eu-west-3.amazonaws.com/?delete=");
    check_url(NULL, "eu-west-3", "a.b", "0", NULL, "https://s3.eu-west-3.amazonaws.com/a.b/0");
    check_url(NULL, "cn-north-1", "b", "0", NULL, "https://b.s3.cn-north-1.amazonaws.com.cn/0");
    check_url(NULL, "eu-west-3", NULL, NULL, NULL, "https://s3.eu-west-3.amazonaws.com/");
    check_url("https://s3.us-west-2.amazonaws.com", NULL, "b", "0", NULL, "https://b.s3.us-west-2.amazonaws.com/0");
    check_url("https://amazonaws.com.example.org", NULL, "b", "0", NULL, "https://amazonaws.com.example.org/b/0");
    setenv("AWS_DEFAULT_REGION", "r-2", 1);
    check_url(NULL, NULL, NULL, NULL, NULL, "https://s3.r-2.amazonaws.com/");
    setenv("AWS_REGION", "r-1", 1);
    check_url(NULL, NULL, NULL, NULL, NULL, "https://s3.r-1.amazonaws.com/");
    check_url(NULL, "r-0", NULL, NULL, NULL, "https://s3.r-0.amazonaws.com/");
}

static void test_bad_settings(void **state)
{
    (void)state;
    static const struct s3_settings bad[] = {
        {.endpoint_url = "ftp://h"},     {.endpoint_url = "http://h/path"}, {.endpoint_url = "http://h?q"},
        {.endpoint_url = "http://u:p@h"}, {.endpoint_url = "http://"},      {.endpoint_url = "http://h:99999"},
        {.endpoint_url = "http://h#f"},  {.region = "a/b"},                 {.region = "a b"},
        {.verify = "/no/such/file"},     {.verify = "maybe"},
    };
    struct s3_client *client;
    set_keys();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(s3_client_new(&bad[i], &client), -EINVAL);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const good[][2] = {{"abc", "abc"}, {"My_Data", "my-data"}, {"a.b-1", "a.b-1"}, {"1.2.3.x", "1.2.3.x"}};
    static const char *const bad[] = {"", "ab", "-abc", "abc-", "_abc", "a b", "a/b", "..", "a..b", "1.2.3.4", ".abc",
                                      "\xc3\xa4xyz", "a%20b", "a?b", "a\nb"};
    char bucket[S3_BUCKET_ROOM], name[S3_BUCKET_ROOM + 1];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(s3_bucket_name(good[i][0], bucket), 0);
        assert_string_equal(bucket, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(s3_bucket_name(bad[i], bucket), -EINVAL);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(s3_bucket_name(name, bucket), -ENAMETOOLONG);
    assert_int_equal(s3_bucket_name(name + 1, bucket), 0);
}

#define CLEAN(test) cmocka_unit_test_setup(test, clean_environment)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_bad_xml),
        cmocka_unit_test(test_large_xml),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_errors_of_others),
        cmocka_unit_test(test_other_region),
        CLEAN(test_environment),
        CLEAN(test_files),
        CLEAN(test_renewal),
        CLEAN(test_urls),
        CLEAN(test_bad_settings),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
