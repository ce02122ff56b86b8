"""Tests of import.py: python3 -m unittest examples/debian/test_import.py"""

import importlib.util
import os
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("debian_import", os.path.join(HERE, "import.py"))
debian_import = importlib.util.module_from_spec(spec)
spec.loader.exec_module(debian_import)

STATUS = """Package: libfoo1
Status: install ok installed
Priority: optional
Section: libs
Installed-Size: 123
Maintainer: A Person <a@example.org>
Architecture: amd64
Source: foo (1.0-1)
Version: 1.0-1+b1
Depends: libc6 (>= 2.34), debconf (>= 0.5) | debconf-2.0, python3:any
Conflicts: libfoo0 (<< 0.9)
Description: does foo
 The long text
 .
 in two paragraphs: with a colon
Tag: role::shared-lib, implemented-in::c
Homepage: https://example.org/foo

Package: libfoo1
Version: 0.9

Package: bare
"""


class ImportTest(unittest.TestCase):
    def records(self, text, **options):
        with tempfile.NamedTemporaryFile("w", suffix=".status") as f:
            f.write(text)
            f.flush()
            return list(debian_import.records(f.name, **options))

    def test_a_stanza_becomes_a_record(self):
        first = self.records(STATUS)[0]
        self.assertEqual(first["id"], "libfoo1")
        item = first["item"]
        self.assertEqual(item["version"], "1.0-1+b1")
        self.assertEqual(item["installedSizeKb"], "123")
        self.assertEqual(item["source"], "foo")
        self.assertEqual(item["summary"], "does foo")
        self.assertEqual(item["description"],
                         "The long text\n\nin two paragraphs: with a colon")
        self.assertEqual(item["tags"], ["role::shared-lib", "implemented-in::c"])

    def test_dependencies_have_alternatives_and_constraints(self):
        depends = self.records(STATUS)[0]["item"]["dependencies"]
        self.assertEqual(depends, [
            {"kind": "KIND_DEPENDS",
             "alternatives": [{"name": "libc6", "relation": ">=", "version": "2.34"}]},
            {"kind": "KIND_DEPENDS",
             "alternatives": [{"name": "debconf", "relation": ">=", "version": "0.5"},
                              {"name": "debconf-2.0"}]},
            {"kind": "KIND_DEPENDS",
             "alternatives": [{"name": "python3", "architecture": "any"}]},
            {"kind": "KIND_CONFLICTS",
             "alternatives": [{"name": "libfoo0", "relation": "<<", "version": "0.9"}]},
        ])

    def test_a_name_comes_once_and_what_is_missing_is_left_out(self):
        records = self.records(STATUS)
        self.assertEqual([r["id"] for r in records], ["libfoo1", "bare"])
        self.assertEqual(records[1]["item"], {"name": "bare", "installedSizeKb": "0"})

    def test_limit_and_nothing(self):
        self.assertEqual(len(self.records(STATUS, limit=1)), 1)
        self.assertEqual(self.records(""), [])
        self.assertEqual(self.records("no colon here\n continued\n"), [])


if __name__ == "__main__":
    unittest.main()
