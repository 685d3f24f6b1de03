/* A week of earthquakes, summed up: the Gutenberg-Richter b-value and a clean catalogue.
 *
 * usage: quakes INPUT.geojson OUTPUT_DIR
 *
 * Reads a USGS GeoJSON feed and writes
 *   OUTPUT_DIR/summary.json   counts by magnitude, completeness, b-value, strongest events
 *   OUTPUT_DIR/events.csv     time (UTC, ms), latitude, longitude, depth km, magnitude, id, place; oldest first
 *
 * b-value: Aki's maximum likelihood with Utsu's bin correction above the magnitude of completeness,
 * which is taken as the fullest 0.1 bin (maximum curvature).
 *
 * Plain C and WASI preview 1: no network, no clock, no randomness, so the same input gives the same bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64
#define LOG10_E 0.43429448190325176

struct event {
    int64_t time;
    double lon, lat, depth;
    int has_mag;
    double mag;
    char id[32];
    char place[160];
};

static struct event *events;
static size_t event_count, event_room;

static const char *text, *here, *end;

static void fail(const char *why) {
    fprintf(stderr, "quakes: %s at byte %ld of the input\n", why, (long)(here - text));
    exit(2);
}

static void skip_space(void) {
    while (here < end && (*here == ' ' || *here == '\n' || *here == '\r' || *here == '\t')) here++;
}

static char peek(void) {
    skip_space();
    if (here >= end) fail("the JSON is cut short");
    return *here;
}

static void expect(char wanted) {
    if (peek() != wanted) fail("unexpected character");
    here++;
}

/* Reads a string into out (cut to size - 1 bytes); escapes other than \" \\ \/ become '?'. */
static void read_string(char *out, size_t size) {
    size_t used = 0;
    expect('"');
    while (here < end && *here != '"') {
        char c = *here++;
        if (c == '\\') {
            if (here >= end) break;
            c = *here++;
            if (c == 'u') {
                if (end - here < 4) fail("bad escape");
                here += 4;
                c = '?';
            } else if (c != '"' && c != '\\' && c != '/') {
                c = ' ';
            }
        }
        if (used + 1 < size) out[used++] = c;
    }
    if (here >= end) fail("unterminated string");
    here++;
    if (size) out[used] = 0;
}

/* Reads a number; returns 0 and leaves *value alone for null. */
static int read_number(double *value) {
    char digits[64], *stop;
    size_t used = 0;
    if (peek() == 'n') {
        if (end - here < 4 || memcmp(here, "null", 4)) fail("unexpected word");
        here += 4;
        return 0;
    }
    while (here < end && used + 1 < sizeof digits && strchr("+-.0123456789eE", *here)) digits[used++] = *here++;
    digits[used] = 0;
    *value = strtod(digits, &stop);
    if (!used || *stop) fail("bad number");
    return 1;
}

static void skip_value(int depth) {
    char c = peek();
    double ignored;
    if (depth > MAX_DEPTH) fail("nested too deeply");
    if (c == '"') {
        read_string(NULL, 0);
    } else if (c == '{' || c == '[') {
        char close = c == '{' ? '}' : ']';
        here++;
        if (peek() == close) { here++; return; }
        for (;;) {
            if (c == '{') { read_string(NULL, 0); expect(':'); }
            skip_value(depth + 1);
            if (peek() == ',') { here++; continue; }
            expect(close);
            return;
        }
    } else if (c == 't' || c == 'f') {
        while (here < end && *here >= 'a' && *here <= 'z') here++;
    } else {
        read_number(&ignored);
    }
}

/* Calls member(key, data) for each member of the object that begins here. */
static void read_object(void (*member)(const char *key, struct event *event), struct event *event) {
    char key[64];
    expect('{');
    if (peek() == '}') { here++; return; }
    for (;;) {
        read_string(key, sizeof key);
        expect(':');
        member(key, event);
        if (peek() == ',') { here++; continue; }
        expect('}');
        return;
    }
}

static void property(const char *key, struct event *event) {
    double number;
    if (!strcmp(key, "mag")) {
        event->has_mag = read_number(&event->mag);
    } else if (!strcmp(key, "time")) {
        if (read_number(&number)) event->time = (int64_t)number;
    } else if (!strcmp(key, "place") && peek() == '"') {
        read_string(event->place, sizeof event->place);
    } else {
        skip_value(0);
    }
}

static void geometry(const char *key, struct event *event) {
    if (strcmp(key, "coordinates")) { skip_value(0); return; }
    expect('[');
    read_number(&event->lon);
    expect(',');
    read_number(&event->lat);
    expect(',');
    read_number(&event->depth);
    expect(']');
}

static void feature(const char *key, struct event *event) {
    if (!strcmp(key, "properties")) read_object(property, event);
    else if (!strcmp(key, "geometry")) read_object(geometry, event);
    else if (!strcmp(key, "id")) read_string(event->id, sizeof event->id);
    else skip_value(0);
}

static void collection(const char *key, struct event *unused) {
    (void)unused;
    if (strcmp(key, "features")) { skip_value(0); return; }
    expect('[');
    if (peek() == ']') { here++; return; }
    for (;;) {
        if (event_count == event_room) {
            event_room = event_room ? event_room * 2 : 256;
            events = realloc(events, event_room * sizeof *events);
            if (!events) { fputs("quakes: out of memory\n", stderr); exit(3); }
        }
        memset(&events[event_count], 0, sizeof *events);
        read_object(feature, &events[event_count]);
        event_count++;
        if (peek() == ',') { here++; continue; }
        expect(']');
        return;
    }
}

static int by_time(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return strcmp(x->id, y->id);
}

static int by_magnitude(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->mag != y->mag) return x->mag > y->mag ? -1 : 1;
    return by_time(a, b);
}

static FILE *open_output(const char *directory, const char *name) {
    char path[512];
    FILE *file;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "w");
    if (!file) { perror(path); exit(4); }
    return file;
}

static void close_output(FILE *file) {
    if (ferror(file) || fclose(file)) { perror("quakes: writing"); exit(4); }
}

static void write_csv_text(FILE *file, const char *s) {
    fputc('"', file);
    for (; *s; s++) {
        if (*s == '"') fputc('"', file);
        fputc(*s, file);
    }
    fputc('"', file);
}

static void write_json_text(FILE *file, const char *s) {
    fputc('"', file);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') fputc('\\', file);
        fputc((unsigned char)*s < 0x20 ? ' ' : *s, file);
    }
    fputc('"', file);
}

/* Index of the 0.1 bin centred on n/10; magnitudes below -1 or above 10 are clamped. */
static int tenth(double mag) {
    double shifted = (mag + 1.0) * 10.0 + 0.5;
    int bin = shifted < 0 ? 0 : (int)shifted;
    return bin > 110 ? 110 : bin;
}

static void write_catalogue(const char *directory) {
    FILE *file = open_output(directory, "events.csv");
    fputs("time_ms,latitude,longitude,depth_km,magnitude,id,place\n", file);
    for (size_t i = 0; i < event_count; i++) {
        const struct event *e = &events[i];
        fprintf(file, "%lld,%.4f,%.4f,%.2f,", (long long)e->time, e->lat, e->lon, e->depth);
        if (e->has_mag) fprintf(file, "%.2f", e->mag);
        fprintf(file, ",%s,", e->id);
        write_csv_text(file, e->place);
        fputc('\n', file);
    }
    close_output(file);
}

static void write_summary(const char *directory) {
    int bins[111] = {0}, completeness = 0;
    size_t measured = 0, above = 0, whole[12] = {0};
    double sum = 0, b = 0, cutoff;
    FILE *file = open_output(directory, "summary.json");

    for (size_t i = 0; i < event_count; i++) {
        if (!events[i].has_mag) continue;
        measured++;
        bins[tenth(events[i].mag)]++;
        int floor_mag = (int)(events[i].mag + 2.0) - 1; /* -1 holds everything below 0 */
        whole[floor_mag < 0 ? 0 : floor_mag > 10 ? 11 : floor_mag]++;
    }
    for (int i = 1; i < 111; i++)
        if (bins[i] > bins[completeness]) completeness = i;
    cutoff = (completeness - 10) / 10.0;
    for (size_t i = 0; i < event_count; i++) {
        if (events[i].has_mag && tenth(events[i].mag) >= completeness) {
            above++;
            sum += events[i].mag;
        }
    }
    if (above && sum / (double)above > cutoff - 0.05)
        b = LOG10_E / (sum / (double)above - (cutoff - 0.05));

    fprintf(file, "{\n  \"events\": %zu,\n  \"events_with_magnitude\": %zu,\n", event_count, measured);
    fprintf(file, "  \"first_time_ms\": %lld,\n  \"last_time_ms\": %lld,\n",
            event_count ? (long long)events[0].time : 0LL,
            event_count ? (long long)events[event_count - 1].time : 0LL);
    fprintf(file, "  \"magnitude_of_completeness\": %.1f,\n  \"events_above_completeness\": %zu,\n", cutoff, above);
    fprintf(file, "  \"b_value\": %.4f,\n  \"count_by_magnitude\": {", b);
    for (int i = 0, first = 1; i < 12; i++) {
        if (!whole[i]) continue;
        fprintf(file, "%s\n    \"%s%d\": %zu", first ? "" : ",", i ? "" : "below ", i ? i - 1 : 0, whole[i]);
        first = 0;
    }
    fputs("\n  },\n  \"strongest\": [", file);
    struct event *sorted = malloc((event_count + 1) * sizeof *sorted);
    if (!sorted) { fputs("quakes: out of memory\n", stderr); exit(3); }
    size_t n = 0;
    for (size_t i = 0; i < event_count; i++)
        if (events[i].has_mag) sorted[n++] = events[i];
    qsort(sorted, n, sizeof *sorted, by_magnitude);
    for (size_t i = 0; i < n && i < 5; i++) {
        fprintf(file, "%s\n    {\"magnitude\": %.1f, \"id\": \"%s\", \"place\": ", i ? "," : "", sorted[i].mag, sorted[i].id);
        write_json_text(file, sorted[i].place);
        fputc('}', file);
    }
    fputs("\n  ]\n}\n", file);
    close_output(file);
    printf("%zu events, %zu with a magnitude\n", event_count, measured);
    printf("complete from magnitude %.1f, b-value %.4f (%zu events)\n", cutoff, b, above);
    if (n) printf("strongest: M %.1f, %s\n", sorted[0].mag, sorted[0].place);
    free(sorted);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: quakes INPUT.geojson OUTPUT_DIR\n", stderr);
        return 64;
    }
    FILE *file = fopen(argv[1], "r");
    if (!file) { perror(argv[1]); return 66; }
    size_t room = 1 << 16, size = 0, got;
    char *data = malloc(room);
    while (data && (got = fread(data + size, 1, room - size, file)) > 0) {
        size += got;
        if (size == room) data = realloc(data, room *= 2);
    }
    if (!data) { fputs("quakes: out of memory\n", stderr); return 3; }
    if (ferror(file)) { perror(argv[1]); return 66; }
    fclose(file);
    text = here = data;
    end = data + size;
    read_object(collection, NULL);
    qsort(events, event_count, sizeof *events, by_time);
    write_catalogue(argv[2]);
    write_summary(argv[2]);
    return 0;
}
