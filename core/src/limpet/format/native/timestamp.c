/* Reads the times that Go writes: RFC 3339, at most nine digits after the second. */
#include "module.h"

enum { NS_DIGITS = 9, HEAD_LENGTH = 19, ZONE_LENGTH = 6 };

static const int64_t NS_PER_S = 1000000000;
/* Whole years whose nanoseconds fit into 64 bits. */
enum { FIRST_YEAR = 1678, LAST_YEAR = 2261 };

/* The number that so many digits are; -1 if one of them is none. */
static int digits_at(const char *text, int count) {
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

static int days_of_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && is_leap);
}

/* Days since 1970-01-01; years begin with March, so the leap day is the last. */
static int64_t days_from_date(int year, int month, int day) {
    year -= month <= 2;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return (int64_t)year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719468;
}

/* Reads YYYY-MM-DDTHH:MM:SS; 0, or -1 for anything else. */
static int wall_second(const char *text, int64_t *second) {
    int year = digits_at(text, 4), month = digits_at(text + 5, 2), day = digits_at(text + 8, 2);
    int hour = digits_at(text + 11, 2), minute = digits_at(text + 14, 2), rest = digits_at(text + 17, 2);
    if (text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') {
        return -1;
    }
    if (year < FIRST_YEAR || year > LAST_YEAR || month < 1 || month > 12 || day < 1 ||
        day > days_of_month(year, month)) {
        return -1;
    }
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || rest < 0 || rest > 59) {
        return -1;
    }
    *second = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + rest;
    return 0;
}

/* Reads Z or +HH:MM, all that is left of the text; 0, or -1 for anything else. */
static int zone_offset(const char *text, Py_ssize_t length, int *offset) {
    *offset = 0;
    if (length == 1 && text[0] == 'Z') {
        return 0;
    }
    if (length != ZONE_LENGTH || (text[0] != '+' && text[0] != '-') || text[3] != ':') {
        return -1;
    }
    int hours = digits_at(text + 1, 2), minutes = digits_at(text + 4, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
        return -1;
    }
    *offset = (hours * 3600 + minutes * 60) * (text[0] == '-' ? -1 : 1);
    return 0;
}

PyObject *parse_plain_ns(PyObject *Py_UNUSED(module), PyObject *object) {
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(object, &length);
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            return NULL;
        }
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    int64_t second, fraction_ns = 0;
    int offset;
    if (length <= HEAD_LENGTH || wall_second(text, &second) < 0) {
        Py_RETURN_NONE;
    }
    Py_ssize_t position = HEAD_LENGTH;
    if (text[position] == '.') {
        int digits = 0;
        while (digits < NS_DIGITS && text[++position] >= '0' && text[position] <= '9') {
            fraction_ns = fraction_ns * 10 + (text[position] - '0');
            digits++;
        }
        if (digits == 0) {
            Py_RETURN_NONE;
        }
        position += digits == NS_DIGITS;
        for (; digits < NS_DIGITS; digits++) {
            fraction_ns *= 10;
        }
    }
    if (zone_offset(text + position, length - position, &offset) < 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong((second - offset) * NS_PER_S + fraction_ns);
}
