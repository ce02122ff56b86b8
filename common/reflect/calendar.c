#include "common/reflect/calendar.h"

enum { SECONDS_A_DAY = 86400 };

/*
 * Days of the Gregorian calendar counted in eras of 400 years that start on a
 * first of March, so that leap days come last (Hinnant, "chrono-compatible
 * low-level date algorithms").
 */
enum { DAYS_AN_ERA = 146097, ERA_OFFSET_DAYS = 719468 };

struct date {
	int year, month, day;
};

static struct date date_of(int64_t days)
{
	struct date d;
	int64_t era;
	int day_of_era, year_of_era, day_of_year, shifted_month;

	days += ERA_OFFSET_DAYS;
	era = (days >= 0 ? days : days - (DAYS_AN_ERA - 1)) / DAYS_AN_ERA;
	day_of_era = (int)(days - era * DAYS_AN_ERA);
	year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) /
		365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	shifted_month = (5 * day_of_year + 2) / 153;
	d.day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
	d.month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
	d.year = (int)(year_of_era + era * 400) + (d.month <= 2);
	return d;
}

static int64_t days_of(struct date d)
{
	const int year = d.year - (d.month <= 2);
	const int era = (year >= 0 ? year : year - 399) / 400;
	const int year_of_era = year - era * 400;
	const int day_of_year = (153 * (d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;
	const int day_of_era =
		year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return (int64_t)era * DAYS_AN_ERA + day_of_era - ERA_OFFSET_DAYS;
}

static void put_two(char *out, int value)
{
	out[0] = (char)('0' + value / 10);
	out[1] = (char)('0' + value % 10);
}

size_t calendar_format(int64_t seconds, char out[CALENDAR_TEXT_BYTES])
{
	int64_t days = seconds / SECONDS_A_DAY;
	int rest = (int)(seconds % SECONDS_A_DAY);
	struct date d;

	if (rest < 0) {
		rest += SECONDS_A_DAY;
		days--;
	}
	d = date_of(days);
	put_two(out, d.year / 100);
	put_two(out + 2, d.year % 100);
	out[4] = out[7] = '-';
	put_two(out + 5, d.month);
	put_two(out + 8, d.day);
	out[10] = 'T';
	put_two(out + 11, rest / 3600);
	put_two(out + 14, rest / 60 % 60);
	put_two(out + 17, rest % 60);
	out[13] = out[16] = ':';
	return CALENDAR_TEXT_BYTES;
}

/* --------------------------------------------------------------- reading */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* @count digits; -1: they are not. */
static int digits(const char *p, int count)
{
	int value = 0;

	while (count--) {
		if (!is_digit(*p))
			return -1;
		value = value * 10 + (*p++ - '0');
	}
	return value;
}

/* Digits after a point, one to nine, as nanoseconds. NULL: they are not. */
static const char *parse_fraction(const char *p, const char *end, int32_t *ret_nanos)
{
	int32_t nanos = 0;
	int count = 0;

	for (; p < end && is_digit(*p); p++) {
		if (++count > 9)
			return NULL;
		nanos = nanos * 10 + (*p - '0');
	}
	if (!count)
		return NULL;
	for (; count < 9; count++)
		nanos *= 10;
	*ret_nanos = nanos;
	return p;
}

/* "Z" or "+02:00" up to @end, as seconds east of Greenwich. */
static bool parse_offset(const char *p, const char *end, int *ret_offset)
{
	int hours, minutes;

	*ret_offset = 0;
	if (end - p == 1)
		return *p == 'Z';
	if (end - p != 6 || (*p != '+' && *p != '-') || p[3] != ':')
		return false;
	hours = digits(p + 1, 2);
	minutes = digits(p + 4, 2);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return false;
	*ret_offset = (hours * 60 + minutes) * 60 * (*p == '-' ? -1 : 1);
	return true;
}

static bool is_date(struct date d)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const bool leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);

	return d.year >= 1 && d.month >= 1 && d.month <= 12 && d.day >= 1 &&
	       d.day <= lengths[d.month - 1] + (leap && d.month == 2);
}

bool calendar_parse(const char *text, size_t len, int64_t *ret_seconds, int32_t *ret_nanos)
{
	const char *end = text + len, *p = text + CALENDAR_TEXT_BYTES;
	struct date d;
	int hour, minute, second, offset;
	int32_t nanos = 0;
	int64_t seconds;

	if (len < CALENDAR_TEXT_BYTES + 1 || text[4] != '-' || text[7] != '-' ||
	    text[10] != 'T' || text[13] != ':' || text[16] != ':')
		return false;
	d = (struct date){digits(text, 4), digits(text + 5, 2), digits(text + 8, 2)};
	hour = digits(text + 11, 2);
	minute = digits(text + 14, 2);
	second = digits(text + 17, 2);
	if (!is_date(d) || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
	    second > 59)
		return false;
	if (*p == '.') {
		p = parse_fraction(p + 1, end, &nanos);
		if (!p)
			return false;
	}
	if (!parse_offset(p, end, &offset))
		return false;
	seconds = days_of(d) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second - offset;
	if (seconds < CALENDAR_FIRST_SECOND || seconds > CALENDAR_LAST_SECOND)
		return false;
	*ret_seconds = seconds;
	*ret_nanos = nanos;
	return true;
}

bool calendar_parse_duration(const char *text, size_t len, int64_t *ret_seconds,
			     int32_t *ret_nanos)
{
	const char *p = text, *end = text + len - 1;
	bool negative = false;
	int64_t seconds = 0;
	int32_t nanos = 0;

	if (len < 2 || *end != 's')
		return false;
	if (*p == '-') {
		negative = true;
		p++;
	}
	if (p == end || !is_digit(*p))
		return false;
	for (; p < end && is_digit(*p); p++) {
		seconds = seconds * 10 + (*p - '0');
		if (seconds > CALENDAR_DURATION_MAX)
			return false;
	}
	if (p < end) {
		if (*p != '.')
			return false;
		p = parse_fraction(p + 1, end, &nanos);
		if (p != end)
			return false;
	}
	*ret_seconds = negative ? -seconds : seconds;
	*ret_nanos = negative ? -nanos : nanos;
	return true;
}
