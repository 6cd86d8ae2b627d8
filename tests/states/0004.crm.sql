BEGIN TRANSACTION;
CREATE TABLE appointments (
  id INTEGER PRIMARY KEY, source_key TEXT UNIQUE, agent_email TEXT, contact_email TEXT, title TEXT,
  starts_at TEXT, ends_at TEXT, all_day INTEGER NOT NULL DEFAULT 0, location TEXT, status TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1, updated_at TEXT);
INSERT INTO "appointments" VALUES(1,'a1','ann@acme.example','jane@mail.example','Showing a1','2026-11-24 15:00:00','2026-11-24 16:00:00',0,'','scheduled',1,'2026-11-01');
INSERT INTO "appointments" VALUES(2,'b1','bob@acme.example','jane@mail.example','Showing b1','2026-11-27 15:00:00','2026-11-27 16:00:00',0,'','scheduled',2,'2026-11-20 12:00:00');
INSERT INTO "appointments" VALUES(3,NULL,'ann@acme.example','mary@mail.example','Showing None','2026-11-29 09:00:00','2026-11-29 10:00:00',0,'','scheduled',1,'2026-11-01');
INSERT INTO "appointments" VALUES(4,'weekly/20261123T180000Z','ann@acme.example','john@mail.example','Every week','2026-11-23 18:00:00','2026-11-23 19:00:00',0,NULL,'scheduled',1,'2026-11-20 12:00:00');
INSERT INTO "appointments" VALUES(5,'a2','ann@acme.example','jane@mail.example','Showing a2','2026-11-30 15:00:00','2026-11-30 16:00:00',0,NULL,'scheduled',2,'2026-11-21 12:00:00');
INSERT INTO "appointments" VALUES(6,'a3','ann@acme.example','jane@mail.example','Showing a3','2026-11-26 15:00:00','2026-11-26 16:00:00',0,NULL,'cancelled',2,'2026-11-21 12:00:00');
INSERT INTO "appointments" VALUES(7,'house','bob@acme.example','john@mail.example','Open house','2026-11-27 00:00:00','2026-11-28 00:00:00',1,NULL,'scheduled',1,'2026-11-20 12:00:00');
INSERT INTO "appointments" VALUES(8,'b2','bob@acme.example','else@mail.example','Showing b2','2026-11-28 15:00:00','2026-11-28 16:00:00',0,NULL,'scheduled',2,'2026-11-21 09:00:00');
INSERT INTO "appointments" VALUES(9,'weekly/20261207T180000Z','ann@acme.example','john@mail.example','Every week','2026-12-07 18:00:00','2026-12-07 19:00:00',0,NULL,'scheduled',1,'2026-11-20 12:00:00');
INSERT INTO "appointments" VALUES(10,'weekly/20261214T180000Z','ann@acme.example','john@mail.example','Every week','2026-12-14 18:00:00','2026-12-14 19:00:00',0,NULL,'scheduled',1,'2026-11-20 12:00:00');
INSERT INTO "appointments" VALUES(11,'b3','bob@acme.example','jane@mail.example','Showing b3','2026-11-29 15:00:00','2026-11-29 16:00:00',0,NULL,'scheduled',1,'2026-11-21 12:00:00');
COMMIT;
