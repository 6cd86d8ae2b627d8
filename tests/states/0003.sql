BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE approvals (
	id INTEGER NOT NULL, 
	job INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	used_by TEXT, 
	used_at BIGINT, 
	PRIMARY KEY (id)
);
CREATE TABLE calendars (
	id INTEGER NOT NULL, 
	job INTEGER NOT NULL, 
	source TEXT NOT NULL, 
	agent TEXT NOT NULL, 
	name TEXT NOT NULL, 
	seen_at BIGINT, 
	tried_at BIGINT, 
	strikes INTEGER DEFAULT '0' NOT NULL, 
	blind_since BIGINT, 
	why TEXT, 
	zone TEXT, 
	quarantined TEXT, next_try BIGINT, pending TEXT, released_at BIGINT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(job) REFERENCES jobs (id), 
	UNIQUE (job, source, agent, name)
);
INSERT INTO "calendars" VALUES(1,1,'ann','ann@acme.example','ann.ics',1795348800,1795348800,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "calendars" VALUES(2,1,'bob','bob@acme.example','bob.ics',1795348800,1795348800,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE chunks (
	first TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	digest BLOB NOT NULL, 
	count INTEGER NOT NULL, 
	PRIMARY KEY (first, job)
);
INSERT INTO "chunks" VALUES('1',1,X'933DE671663A800980B2A11E8D3EB7D5',11);
CREATE TABLE cursors (
	calendar INTEGER NOT NULL, 
	token TEXT NOT NULL, 
	window_start BIGINT NOT NULL, 
	window_end BIGINT NOT NULL, 
	scope TEXT NOT NULL, 
	full_at BIGINT NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (calendar), 
	FOREIGN KEY(calendar) REFERENCES calendars (id)
);
INSERT INTO "cursors" VALUES(1,'{"digest":"9c81549299d742c18179d089b1fe1906"}',1794700800,1800489600,'4ac28f8d1ae53570ae6e4912a22b6983',1795348800,4);
INSERT INTO "cursors" VALUES(2,'{"digest":"2b0446d194142754f8c52cc88c8eeff0"}',1794700800,1800489600,'e6db7d55552b174673d85c4b35b4283a',1795348800,4);
CREATE TABLE findings (
	"key" TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	severity TEXT NOT NULL, 
	agent TEXT, 
	event TEXT, 
	crm_id TEXT, 
	payload TEXT NOT NULL, 
	first_seen BIGINT NOT NULL, 
	last_seen BIGINT NOT NULL, 
	sightings INTEGER NOT NULL, 
	resolved_at BIGINT, sides BLOB, accepted_sides BLOB, accepted_until BIGINT, accepted_at BIGINT, accepted_by TEXT, accepted_why TEXT, 
	PRIMARY KEY ("key", job)
);
INSERT INTO "findings" VALUES('2be259d5f935',1,'missing_in_crm','high','ann@acme.example','weekly/20261123T180000Z',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-11-23T18:00:00Z","tier":null}',1795176000,1795176000,1,1795179600,X'5A2529C3ACC71F3029E002D90B2A1E87',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('43bb6ab76cf8',1,'missing_in_crm','high','ann@acme.example','a2',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-11-25T15:00:00Z","tier":null}',1795176000,1795176000,1,1795179600,X'4B7AA531E167132EF4D41DA5187D8933',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('f5cd4d2e8be3',1,'missing_in_crm','high','ann@acme.example','secret',NULL,'{"why":"The CRM has no record of it; a private event is never copied: enter it by hand if it is an appointment.","action":"human","fields":{},"start":"2026-11-25T15:00:00Z","tier":null}',1795176000,1795348800,4,NULL,X'75D61D96C856F7C75A740E28A36F6002',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('f9609eaee5ca',1,'missing_in_crm','high','ann@acme.example','a3',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-11-26T15:00:00Z","tier":null}',1795176000,1795176000,1,1795179600,X'DBD04D07B9AACE5636B58A407164F554',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('397ac1b3196f',1,'missing_in_crm','high','bob@acme.example','house',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-11-27","tier":null}',1795176000,1795176000,1,1795179600,X'BC9D4CA80E4CB6573AC32D4D9639C673',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('cc8d169f7f85',1,'missing_in_crm','high','bob@acme.example','b2',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-11-28T15:00:00Z","tier":null}',1795176000,1795176000,1,1795179600,X'77497C717C09BD60390C966CAF159584',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('86e01402aa03',1,'missing_in_crm','high','ann@acme.example','weekly/20261207T180000Z',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-12-07T18:00:00Z","tier":null}',1795176000,1795176000,1,1795179600,X'DC6B3AFFB835253598457489F4AFF0BC',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('4dfdd0c721f7',1,'missing_in_crm','high','ann@acme.example','weekly/20261214T180000Z',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-12-14T18:00:00Z","tier":null}',1795176000,1795176000,1,1795179600,X'C57B1E0DC60BD73DD99B0710C2864903',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('c8c70a546b35',1,'reschedule_not_propagated','high','bob@acme.example','b1','2','{"why":"End, start never agreed before, the calendar wins (policy.first).","action":"fix","fields":{"end":["2026-11-27T16:30:00Z","2026-11-27T16:00:00Z"],"start":["2026-11-27T15:30:00Z","2026-11-27T15:00:00Z"]},"start":"2026-11-27T15:00:00Z","tier":"key"}',1795176000,1795176000,1,1795179600,X'4F456957ED712BE1355EEA5F1BFCB180',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('cdb5290a75cc',1,'double_booked_agent','medium','ann@acme.example','secret',NULL,'{"why":"Two appointments overlap: 2026-11-25 15:00-16:00 UTC and 2026-11-25 15:00-16:00 UTC.","action":"human","fields":{},"start":"2026-11-25T15:00:00Z","tier":null}',1795176000,1795179600,2,1795262400,X'43C14C170C51659977916DF17EE439FF',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('fee9200425be',1,'missing_in_calendar','medium','ann@acme.example',NULL,'3','{"why":"No calendar has it.","action":"human","fields":{},"start":"2026-11-29T09:00:00Z","tier":null}',1795176000,1795348800,4,NULL,X'E8AF5EE356E4038C2BCF3EAABE56708F',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('3b0e1b95bfae',1,'cancel_not_propagated','high','ann@acme.example','a3','6','{"why":"Cancelled in the calendar.","action":"fix","fields":{},"start":"2026-11-26T15:00:00Z","tier":"link"}',1795262400,1795262400,1,1795348800,X'F3EA5D36B2226D367E5C7AD7B77F1482',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('8a6f688c84de',1,'missing_in_crm','high','bob@acme.example','b3',NULL,'{"why":"The CRM has no record of it.","action":"fix","fields":{},"start":"2026-11-29T15:00:00Z","tier":null}',1795262400,1795262400,1,1795348800,X'EE372E9858EC33744DBAC48003C577AC',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('ff2c4113d078',1,'reschedule_not_propagated','high','ann@acme.example','a2','5','{"why":"End, start changed in the calendar.","action":"fix","fields":{"end":["2026-11-25T16:00:00Z","2026-11-30T16:00:00Z"],"start":["2026-11-25T15:00:00Z","2026-11-30T15:00:00Z"]},"start":"2026-11-30T15:00:00Z","tier":"link"}',1795262400,1795262400,1,1795348800,X'D40C34031A1A118B7EE2DCADDD911467',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "findings" VALUES('fa7eeb01adf8',1,'wrong_contact','medium','bob@acme.example','b2','8','{"why":"Contact changed in the CRM. Accepted by Ann until 2026-12-20: her sister","action":"none","fields":{"contact":[["else@mail.example"],["john@mail.example"]]},"start":"2026-11-28T15:00:00Z","tier":"link"}',1795262400,1795348800,2,NULL,X'10C8CC6F0B2479D962F12FE35F797913',X'10C8CC6F0B2479D962F12FE35F797913',1797811200,1795266000,'Ann','her sister');
CREATE TABLE holds (
	"key" TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	sides BLOB NOT NULL, 
	run TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	PRIMARY KEY ("key", job)
);
CREATE TABLE jobs (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	crm TEXT, 
	salt BLOB NOT NULL, 
	shape TEXT, 
	fingerprint TEXT, 
	whole_at BIGINT, 
	read_at BIGINT, 
	epoch INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "jobs" VALUES(1,'acme','sqlite crm.db#8d5f5b66 appointments',X'4FFF339B35D798A05F8836945E94E91DB179467BB71BB43AF0749883C106E497','{"mapped":["agent","all_day","contact","end","key","location","start","status","title","updated","version"],"lengths":{},"statuses":{"confirmed":"confirmed","tentative":"confirmed","cancelled":"cancelled","closed":"confirmed"},"can":["cancel","create","delete","update"]}','485a7d2be807565af690220159f614f6',1795348800,1795348800,4);
CREATE TABLE journal (
	id INTEGER NOT NULL, 
	job INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	epoch INTEGER NOT NULL, 
	action TEXT NOT NULL, 
	side TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	crm_id TEXT, 
	event TEXT, 
	agent TEXT, 
	content BLOB NOT NULL, 
	"before" TEXT, 
	"after" TEXT, 
	status TEXT NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	why TEXT, 
	at BIGINT NOT NULL, calendar INTEGER, version TEXT, approval TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (idempotency_key)
);
INSERT INTO "journal" VALUES(1,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:d1a7b428beb27f9cb2773fc5191a4da44b2d056fefcc0207168127686e3f92a8',1,'update','crm','b1','2','b1','bob@acme.example',X'0E6760FECC8EEB657A3E84E0093B0742','{"all_day":false,"end":"2026-11-27T16:30:00Z","start":"2026-11-27T15:30:00Z"}','{"all_day":false,"end":"2026-11-27T16:00:00Z","start":"2026-11-27T15:00:00Z"}','done',1,NULL,1795176000,2,'2:bd0799df8a0901fdf2ed',NULL);
INSERT INTO "journal" VALUES(2,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:fc8e3ffb34350abcdc7189b4a4986efe8511cf2ae389913e8d79dfb247793cc6',1,'create','crm','weekly/20261123T180000Z','4','weekly/20261123T180000Z','ann@acme.example',X'158EFB876122D6501B7C9FA5CB1A5F98','{}','{"start":"2026-11-23T18:00:00Z","end":"2026-11-23T19:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Every week","location":"","contact":["john@mail.example"]}','done',1,NULL,1795176000,1,'1:216dd7951c716cd19dd9',NULL);
INSERT INTO "journal" VALUES(3,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:5484947687393ecf90683da02ede937603890c8d2922794be7e261398ab8a7e7',1,'create','crm','a2','5','a2','ann@acme.example',X'D0790B2184A2839A6A167DBFD890BCF1','{}','{"start":"2026-11-25T15:00:00Z","end":"2026-11-25T16:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Showing a2","location":"","contact":["jane@mail.example"]}','done',1,NULL,1795176000,1,'1:df3f6340469143c31278',NULL);
INSERT INTO "journal" VALUES(4,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:126a29a61b7e126103f3f4e906130d86f5589ce6c41ddedd7211b5c490b0232d',1,'create','crm','a3','6','a3','ann@acme.example',X'FBCCC9A62A810D9CFA060DF4C26A4E7B','{}','{"start":"2026-11-26T15:00:00Z","end":"2026-11-26T16:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Showing a3","location":"","contact":["jane@mail.example"]}','done',1,NULL,1795176000,1,'1:bc7e049153584d7a07f3',NULL);
INSERT INTO "journal" VALUES(5,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:a3f057d39d1e2e8b3dcde96de9701111ae1d062e6d44dddb3364b789c85b3273',1,'create','crm','house','7','house','bob@acme.example',X'4B32E04C5F3E235F9D24F429E9E1890F','{}','{"start":"2026-11-27","end":"2026-11-28","all_day":true,"agent":"bob@acme.example","status":"confirmed","title":"Open house","location":"","contact":["john@mail.example"]}','done',1,NULL,1795176000,2,'1:bae63c3d1641da6533c3',NULL);
INSERT INTO "journal" VALUES(6,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:274e29fb3a7c859b86ffa3dd066124bb4105dca4ce9168d7f8f799c58a641699',1,'create','crm','b2','8','b2','bob@acme.example',X'67761C6F269F606B04346883C6AE8605','{}','{"start":"2026-11-28T15:00:00Z","end":"2026-11-28T16:00:00Z","all_day":false,"agent":"bob@acme.example","status":"confirmed","title":"Showing b2","location":"","contact":["john@mail.example"]}','done',1,NULL,1795176000,2,'1:6e7687180ca7846af6f1',NULL);
INSERT INTO "journal" VALUES(7,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:d074ee8a39093e18acac2a1c7768ce7b3fbc1974f9a64c787745ee410920627f',1,'create','crm','weekly/20261207T180000Z','9','weekly/20261207T180000Z','ann@acme.example',X'657D1E1ED4C23B02111C0A3C4C0C49EA','{}','{"start":"2026-12-07T18:00:00Z","end":"2026-12-07T19:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Every week","location":"","contact":["john@mail.example"]}','done',1,NULL,1795176000,1,'1:87bc17c6dc54ded243d1',NULL);
INSERT INTO "journal" VALUES(8,1,'01M7WD7TG0QT5YVEH1HWCVS4XC','1:01M7WD7TG0QT5YVEH1HWCVS4XC:2fbd893a6eae2f5db93b25373b38414f86d9dafb7568588e3315d963b82353af',1,'create','crm','weekly/20261214T180000Z','10','weekly/20261214T180000Z','ann@acme.example',X'BA73C440465B1AFA4D5BAAD7FCF47214','{}','{"start":"2026-12-14T18:00:00Z","end":"2026-12-14T19:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Every week","location":"","contact":["john@mail.example"]}','done',1,NULL,1795176000,1,'1:9312b4759feec922c3cf',NULL);
INSERT INTO "journal" VALUES(9,1,'01M7YZMHG0Y4CH94ENZ7A7JAZN','1:01M7YZMHG0Y4CH94ENZ7A7JAZN:7b8c2e54d0d7b87d29ee9a30b0f28b558a2840177439c23326949d72d57da8f6',3,'cancel','crm','a3','6','a3','ann@acme.example',X'81E42C5877F5A23ACD3B358F1DB4C7F1','{"agent":"ann@acme.example","all_day":false,"start":"2026-11-26T15:00:00Z","end":"2026-11-26T16:00:00Z","title":"Showing a3","location":"","contact":["jane@mail.example"],"status":"confirmed"}','{"status":"cancelled"}','done',1,NULL,1795262400,1,'2:8528293b54a053661b02',NULL);
INSERT INTO "journal" VALUES(10,1,'01M7YZMHG0Y4CH94ENZ7A7JAZN','1:01M7YZMHG0Y4CH94ENZ7A7JAZN:338e858acf474a5db6d7e635c4ad74103fc83bb1aad9a6ca2d39c79a5c6a1ef2',3,'update','crm','a2','5','a2','ann@acme.example',X'B5DD167D5B9A5EFE1EF20448D8FB444A','{"all_day":false,"end":"2026-11-25T16:00:00Z","start":"2026-11-25T15:00:00Z"}','{"all_day":false,"end":"2026-11-30T16:00:00Z","start":"2026-11-30T15:00:00Z"}','done',1,NULL,1795262400,1,'2:cac619d87ed1c795cf73',NULL);
INSERT INTO "journal" VALUES(11,1,'01M7YZMHG0Y4CH94ENZ7A7JAZN','1:01M7YZMHG0Y4CH94ENZ7A7JAZN:cbd5680b0a0e99021c31ca7fc705197ad62632046430614117fdb87e1ec67db2',3,'create','crm','b3','11','b3','bob@acme.example',X'B0C1DD5D616EAA599272C535E5326DA6','{}','{"start":"2026-11-29T15:00:00Z","end":"2026-11-29T16:00:00Z","all_day":false,"agent":"bob@acme.example","status":"confirmed","title":"Showing b3","location":"","contact":["jane@mail.example"]}','done',1,NULL,1795262400,2,'1:ea7c69a329c9a06e52c5',NULL);
CREATE TABLE links (
	calendar INTEGER NOT NULL, 
	event TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	crm_id TEXT NOT NULL, 
	meeting TEXT NOT NULL, 
	tier TEXT NOT NULL, 
	base_digest BLOB, 
	crm_digest BLOB, 
	base TEXT, 
	version TEXT, 
	cancelled_by_us BOOLEAN DEFAULT 0 NOT NULL, removed_by_us BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (calendar, event), 
	UNIQUE (crm_id, job)
)
 WITHOUT ROWID

;
INSERT INTO "links" VALUES(1,'a1',1,'1','a1|ann@acme.example','key',X'93F5B7CBC8BE8A0B85A7CA2612EE0099',X'93F5B7CBC8BE8A0B85A7CA2612EE0099','{"calendar":{"agent":"ann@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-24T16:00:00Z","start":"2026-11-24T15:00:00Z","status":"confirmed"},"crm":{"agent":"ann@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-24T16:00:00Z","start":"2026-11-24T15:00:00Z","status":"confirmed"}}','1:a63e9a5abf8ed4d2c484',0,0);
INSERT INTO "links" VALUES(1,'a2',1,'5','a2|ann@acme.example','key',X'525CB7FC1A9485E4E15A287F2C31104A',X'525CB7FC1A9485E4E15A287F2C31104A','{"calendar":{"agent":"ann@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-30T16:00:00Z","start":"2026-11-30T15:00:00Z","status":"confirmed"},"crm":{"agent":"ann@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-30T16:00:00Z","start":"2026-11-30T15:00:00Z","status":"confirmed"}}','2:cac619d87ed1c795cf73',0,0);
INSERT INTO "links" VALUES(1,'a3',1,'6','a3|ann@acme.example','key',NULL,NULL,'{"calendar":{"agent":"ann@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-26T16:00:00Z","start":"2026-11-26T15:00:00Z","status":"confirmed"},"crm":{"agent":"ann@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-26T16:00:00Z","start":"2026-11-26T15:00:00Z","status":"confirmed"}}','2:8528293b54a053661b02',1,0);
INSERT INTO "links" VALUES(1,'weekly/20261123T180000Z',1,'4','weekly/20261123T180000Z|ann@acme.example','key',X'4879E2CC4C8743D4815B7AD4E406BD8E',X'4879E2CC4C8743D4815B7AD4E406BD8E','{"calendar":{"agent":"ann@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-11-23T19:00:00Z","start":"2026-11-23T18:00:00Z","status":"confirmed"},"crm":{"agent":"ann@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-11-23T19:00:00Z","start":"2026-11-23T18:00:00Z","status":"confirmed"}}','1:216dd7951c716cd19dd9',0,0);
INSERT INTO "links" VALUES(1,'weekly/20261207T180000Z',1,'9','weekly/20261207T180000Z|ann@acme.example','key',X'D43FED8CEBCD1FE2FE184B6CA1EF2025',X'D43FED8CEBCD1FE2FE184B6CA1EF2025','{"calendar":{"agent":"ann@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-12-07T19:00:00Z","start":"2026-12-07T18:00:00Z","status":"confirmed"},"crm":{"agent":"ann@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-12-07T19:00:00Z","start":"2026-12-07T18:00:00Z","status":"confirmed"}}','1:87bc17c6dc54ded243d1',0,0);
INSERT INTO "links" VALUES(1,'weekly/20261214T180000Z',1,'10','weekly/20261214T180000Z|ann@acme.example','key',X'1712C88BE06007CCFD9A0B671CABFB7B',X'1712C88BE06007CCFD9A0B671CABFB7B','{"calendar":{"agent":"ann@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-12-14T19:00:00Z","start":"2026-12-14T18:00:00Z","status":"confirmed"},"crm":{"agent":"ann@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-12-14T19:00:00Z","start":"2026-12-14T18:00:00Z","status":"confirmed"}}','1:9312b4759feec922c3cf',0,0);
INSERT INTO "links" VALUES(2,'b1',1,'2','b1|bob@acme.example','key',X'5ABDBE0B26F483C76DE58392BE402044',X'5ABDBE0B26F483C76DE58392BE402044','{"calendar":{"agent":"bob@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-27T16:00:00Z","start":"2026-11-27T15:00:00Z","status":"confirmed"},"crm":{"agent":"bob@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-27T16:00:00Z","start":"2026-11-27T15:00:00Z","status":"confirmed"}}','2:bd0799df8a0901fdf2ed',0,0);
INSERT INTO "links" VALUES(2,'b2',1,'8','b2|bob@acme.example','key',X'A15A7B953761FA29C47A1E47C5FB2281',X'A15A7B953761FA29C47A1E47C5FB2281','{"calendar":{"agent":"bob@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-11-28T16:00:00Z","start":"2026-11-28T15:00:00Z","status":"confirmed"},"crm":{"agent":"bob@acme.example","all_day":false,"contact":["john@mail.example"],"end":"2026-11-28T16:00:00Z","start":"2026-11-28T15:00:00Z","status":"confirmed"}}','1:6e7687180ca7846af6f1',0,0);
INSERT INTO "links" VALUES(2,'b3',1,'11','b3|bob@acme.example','key',X'5695C635DE2CC91934A1E3D86C475B2A',X'5695C635DE2CC91934A1E3D86C475B2A','{"calendar":{"agent":"bob@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-29T16:00:00Z","start":"2026-11-29T15:00:00Z","status":"confirmed"},"crm":{"agent":"bob@acme.example","all_day":false,"contact":["jane@mail.example"],"end":"2026-11-29T16:00:00Z","start":"2026-11-29T15:00:00Z","status":"confirmed"}}','1:ea7c69a329c9a06e52c5',0,0);
INSERT INTO "links" VALUES(2,'house',1,'7','house|bob@acme.example','key',X'9C266F511CA0A90E0ACFF11F86F5E17C',X'9C266F511CA0A90E0ACFF11F86F5E17C','{"calendar":{"agent":"bob@acme.example","all_day":true,"contact":["john@mail.example"],"end":"2026-11-28","start":"2026-11-27","status":"confirmed"},"crm":{"agent":"bob@acme.example","all_day":true,"contact":["john@mail.example"],"end":"2026-11-28","start":"2026-11-27","status":"confirmed"}}','1:bae63c3d1641da6533c3',0,0);
CREATE TABLE mirror (
	calendar INTEGER NOT NULL, 
	event TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	digest BLOB NOT NULL, 
	meeting TEXT NOT NULL, 
	"key" BLOB NOT NULL, 
	from_at BIGINT NOT NULL, 
	to_at BIGINT NOT NULL, 
	relevant BOOLEAN NOT NULL, 
	busy BOOLEAN NOT NULL, 
	absence TEXT, 
	elected BOOLEAN DEFAULT 1 NOT NULL, 
	linked BOOLEAN DEFAULT 0 NOT NULL, 
	payload TEXT NOT NULL, 
	PRIMARY KEY (calendar, event)
)
 WITHOUT ROWID

;
INSERT INTO "mirror" VALUES(1,'a1',1,X'93F5B7CBC8BE8A0B85A7CA2612EE0099','a1|ann@acme.example',X'C456D5EC07A645F7FCC21F55B2EC5A26',1795532400,1795536000,1,1,NULL,1,1,'{"span":["2026-11-24T15:00:00+00:00","2026-11-24T16:00:00+00:00",0],"keys":["a1","a1/20261124T150000Z"],"relevance":"linked","fields":{"start":"2026-11-24T15:00:00Z","end":"2026-11-24T16:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Showing a1","location":"","participants":[],"contact":["jane@mail.example"]},"modified":1793494923,"etag":"7b55b1dbcd2f5df522cb39666607d4bd","guests":1}');
INSERT INTO "mirror" VALUES(1,'a2',1,X'525CB7FC1A9485E4E15A287F2C31104A','a2|ann@acme.example',X'BDF555BDEB0F8F49E00CCE70D83B6281',1796050800,1796054400,1,1,NULL,1,1,'{"span":["2026-11-30T15:00:00+00:00","2026-11-30T16:00:00+00:00",0],"keys":["a2","a2/20261130T150000Z"],"relevance":"linked","fields":{"start":"2026-11-30T15:00:00Z","end":"2026-11-30T16:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Showing a2","location":"","participants":[],"contact":["jane@mail.example"]},"modified":1795248000,"first_seen":1795262400,"etag":"12dfc288a0cf5a836f3a1e4693e09e0a","guests":1}');
INSERT INTO "mirror" VALUES(1,'a3',1,X'6FDF5B9F127FB455928F4497BE9A7E3A','a3|ann@acme.example',X'66F5207C440FEFC2D97C084CCE13BA96',1795705200,1795708800,1,1,'cancelled',1,1,'{"span":["2026-11-26T15:00:00+00:00","2026-11-26T16:00:00+00:00",0],"keys":["a3","a3/20261126T150000Z"],"relevance":"linked","fields":{"start":"2026-11-26T15:00:00Z","end":"2026-11-26T16:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Showing a3","location":"","participants":[],"contact":["jane@mail.example"]},"modified":1795248000,"first_seen":1795262400,"absent_since":1795262400,"etag":"26f3702a79b667ca5e7e65a4127f893a","guests":1}');
INSERT INTO "mirror" VALUES(1,'lunch',1,X'E3978E4EA682BD3044AD7FD5E8782C73','',X'E3978E4EA682BD3044AD7FD5E8782C73',1795532400,1795536000,0,0,NULL,1,0,'{"span":["2026-11-24T15:00:00+00:00","2026-11-24T16:00:00+00:00",0]}');
INSERT INTO "mirror" VALUES(1,'secret',1,X'6F24F6D5A9532A825D197C16528FE645','secret|ann@acme.example',X'6BD6D9328BFBF78FD233C8E3EE189265',1795618800,1795622400,1,1,NULL,1,0,'{"span":["2026-11-25T15:00:00+00:00","2026-11-25T16:00:00+00:00",0],"keys":["secret","secret/20261125T150000Z"],"relevance":"client","fields":{"start":"2026-11-25T15:00:00Z","end":"2026-11-25T16:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed"},"private":true,"modified":1793494923,"etag":"5489058fac9fb0c2d258f3ea7ceae4fb","guests":1}');
INSERT INTO "mirror" VALUES(1,'weekly/20261123T180000Z',1,X'4879E2CC4C8743D4815B7AD4E406BD8E','weekly/20261123T180000Z|ann@acme.example',X'7E3FE11E496DD0A0F455ACDA0CF47FB3',1795456800,1795460400,1,1,NULL,1,1,'{"span":["2026-11-23T18:00:00+00:00","2026-11-23T19:00:00+00:00",0],"keys":["weekly/20261123T180000Z","weekly"],"series":"weekly","relevance":"linked","fields":{"start":"2026-11-23T18:00:00Z","end":"2026-11-23T19:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Every week","location":"","participants":[],"contact":["john@mail.example"]},"modified":1793498584,"etag":"45132fad779f87d90b6c1e166fee3573","guests":1}');
INSERT INTO "mirror" VALUES(1,'weekly/20261130T180000Z',1,X'64367AA7D3742A53D01C8864BD68267D','weekly/20261130T180000Z|ann@acme.example',X'58248A7888ABB3B335A6DB3EE6415C73',1796061600,1796065200,1,1,'excluded',1,0,'{"span":["2026-11-30T18:00:00+00:00","2026-11-30T19:00:00+00:00",0],"keys":["weekly/20261130T180000Z","weekly"],"series":"weekly","relevance":"client","fields":{"start":"2026-11-30T18:00:00Z","end":"2026-11-30T19:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Every week","location":"","participants":[],"contact":["john@mail.example"]},"modified":1793498584,"absent_since":1795176000,"etag":"45132fad779f87d90b6c1e166fee3573","guests":1}');
INSERT INTO "mirror" VALUES(1,'weekly/20261207T180000Z',1,X'D43FED8CEBCD1FE2FE184B6CA1EF2025','weekly/20261207T180000Z|ann@acme.example',X'389F5CEBE7CCA894A8E72CE94A298885',1796666400,1796670000,1,1,NULL,1,1,'{"span":["2026-12-07T18:00:00+00:00","2026-12-07T19:00:00+00:00",0],"keys":["weekly/20261207T180000Z","weekly"],"series":"weekly","relevance":"linked","fields":{"start":"2026-12-07T18:00:00Z","end":"2026-12-07T19:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Every week","location":"","participants":[],"contact":["john@mail.example"]},"modified":1793498584,"etag":"45132fad779f87d90b6c1e166fee3573","guests":1}');
INSERT INTO "mirror" VALUES(1,'weekly/20261214T180000Z',1,X'1712C88BE06007CCFD9A0B671CABFB7B','weekly/20261214T180000Z|ann@acme.example',X'41397342AA82D7266552E403668AF981',1797271200,1797274800,1,1,NULL,1,1,'{"span":["2026-12-14T18:00:00+00:00","2026-12-14T19:00:00+00:00",0],"keys":["weekly/20261214T180000Z","weekly"],"series":"weekly","relevance":"linked","fields":{"start":"2026-12-14T18:00:00Z","end":"2026-12-14T19:00:00Z","all_day":false,"agent":"ann@acme.example","status":"confirmed","title":"Every week","location":"","participants":[],"contact":["john@mail.example"]},"modified":1793498584,"etag":"45132fad779f87d90b6c1e166fee3573","guests":1}');
INSERT INTO "mirror" VALUES(2,'b1',1,X'5ABDBE0B26F483C76DE58392BE402044','b1|bob@acme.example',X'23DDF6C7A19461D0AB282F5C1BBABDB6',1795791600,1795795200,1,1,NULL,1,1,'{"span":["2026-11-27T15:00:00+00:00","2026-11-27T16:00:00+00:00",0],"keys":["b1","b1/20261127T150000Z"],"relevance":"linked","fields":{"start":"2026-11-27T15:00:00Z","end":"2026-11-27T16:00:00Z","all_day":false,"agent":"bob@acme.example","status":"confirmed","title":"Showing b1","location":"","participants":[],"contact":["jane@mail.example"]},"modified":1793494923,"etag":"6b9debd5658398caaa8869cf4adcb803","guests":1}');
INSERT INTO "mirror" VALUES(2,'b2',1,X'A15A7B953761FA29C47A1E47C5FB2281','b2|bob@acme.example',X'AB497CFB1A01DDA34F93768A7D41A658',1795878000,1795881600,1,1,NULL,1,1,'{"span":["2026-11-28T15:00:00+00:00","2026-11-28T16:00:00+00:00",0],"keys":["b2","b2/20261128T150000Z"],"relevance":"linked","fields":{"start":"2026-11-28T15:00:00Z","end":"2026-11-28T16:00:00Z","all_day":false,"agent":"bob@acme.example","status":"confirmed","title":"Showing b2","location":"","participants":[],"contact":["john@mail.example"]},"modified":1793494923,"etag":"a16d822875739e40d38dad2c8acd8619","guests":1}');
INSERT INTO "mirror" VALUES(2,'b3',1,X'5695C635DE2CC91934A1E3D86C475B2A','b3|bob@acme.example',X'38BB2C6D50B6F85F1091CD69C1F50F6D',1795964400,1795968000,1,1,NULL,1,1,'{"span":["2026-11-29T15:00:00+00:00","2026-11-29T16:00:00+00:00",0],"keys":["b3","b3/20261129T150000Z"],"relevance":"linked","fields":{"start":"2026-11-29T15:00:00Z","end":"2026-11-29T16:00:00Z","all_day":false,"agent":"bob@acme.example","status":"confirmed","title":"Showing b3","location":"","participants":[],"contact":["jane@mail.example"]},"modified":1795248000,"first_seen":1795262400,"etag":"43d52f30e66b08a93310a2d757ce0b64","guests":1}');
INSERT INTO "mirror" VALUES(2,'house',1,X'9C266F511CA0A90E0ACFF11F86F5E17C','house|bob@acme.example',X'DF759420C4CFACC35FCE84A61558230A',1795687200,1795874400,1,0,NULL,1,1,'{"span":["2026-11-27","2026-11-28",1],"keys":["house","house/20261127"],"relevance":"linked","fields":{"start":"2026-11-27","end":"2026-11-28","all_day":true,"agent":"bob@acme.example","status":"confirmed","title":"Open house","location":"","participants":[],"contact":["john@mail.example"]},"modified":1793502245,"etag":"f411f63df00b952c41992be954f985f2","guests":1}');
CREATE TABLE plans (
	digest TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	made_at BIGINT NOT NULL, 
	identities TEXT NOT NULL, 
	violations TEXT NOT NULL, 
	used_by TEXT, 
	PRIMARY KEY (digest, job)
);
CREATE TABLE quota (
	provider TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	level DOUBLE NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (provider, scope)
)
 WITHOUT ROWID

;
CREATE TABLE records (
	crm_id TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	digest BLOB NOT NULL, 
	chunk TEXT NOT NULL, 
	"key" BLOB, 
	agent TEXT, 
	start_at BIGINT, 
	from_at BIGINT NOT NULL, 
	to_at BIGINT NOT NULL, 
	presence TEXT NOT NULL, 
	linked BOOLEAN DEFAULT 0 NOT NULL, 
	payload TEXT NOT NULL, 
	PRIMARY KEY (crm_id, job)
)
 WITHOUT ROWID

;
INSERT INTO "records" VALUES('1',1,X'93F5B7CBC8BE8A0B85A7CA2612EE0099','1',X'C456D5EC07A645F7FCC21F55B2EC5A26','ann@acme.example',1795532400,1795532400,1795536000,'live',1,'{"fields":{"agent":"ann@acme.example","all_day":false,"start":"2026-11-24T15:00:00Z","end":"2026-11-24T16:00:00Z","title":"Showing a1","location":"","contact":["jane@mail.example"],"status":"confirmed"},"version":"1:a63e9a5abf8ed4d2c484","key":"a1","updated":1793491200}');
INSERT INTO "records" VALUES('10',1,X'1712C88BE06007CCFD9A0B671CABFB7B','1',X'41397342AA82D7266552E403668AF981','ann@acme.example',1797271200,1797271200,1797274800,'live',1,'{"fields":{"agent":"ann@acme.example","all_day":false,"start":"2026-12-14T18:00:00Z","end":"2026-12-14T19:00:00Z","title":"Every week","location":"","contact":["john@mail.example"],"status":"confirmed"},"version":"1:9312b4759feec922c3cf","key":"weekly/20261214T180000Z","updated":1795176000}');
INSERT INTO "records" VALUES('11',1,X'5695C635DE2CC91934A1E3D86C475B2A','1',X'38BB2C6D50B6F85F1091CD69C1F50F6D','bob@acme.example',1795964400,1795964400,1795968000,'live',1,'{"fields":{"agent":"bob@acme.example","all_day":false,"start":"2026-11-29T15:00:00Z","end":"2026-11-29T16:00:00Z","title":"Showing b3","location":"","contact":["jane@mail.example"],"status":"confirmed"},"version":"1:ea7c69a329c9a06e52c5","key":"b3","updated":1795262400}');
INSERT INTO "records" VALUES('2',1,X'5ABDBE0B26F483C76DE58392BE402044','1',X'23DDF6C7A19461D0AB282F5C1BBABDB6','bob@acme.example',1795791600,1795791600,1795795200,'live',1,'{"fields":{"agent":"bob@acme.example","all_day":false,"start":"2026-11-27T15:00:00Z","end":"2026-11-27T16:00:00Z","title":"Showing b1","location":"","contact":["jane@mail.example"],"status":"confirmed"},"version":"2:bd0799df8a0901fdf2ed","key":"b1","updated":1795176000}');
INSERT INTO "records" VALUES('3',1,X'8262411D36E643CB86D706B710308025','1',NULL,'ann@acme.example',1795942800,1795942800,1795946400,'live',0,'{"fields":{"agent":"ann@acme.example","all_day":false,"start":"2026-11-29T09:00:00Z","end":"2026-11-29T10:00:00Z","title":"Showing None","location":"","contact":["mary@mail.example"],"status":"confirmed"},"version":"1:5f6282199253f1ae9c65","updated":1793491200}');
INSERT INTO "records" VALUES('4',1,X'4879E2CC4C8743D4815B7AD4E406BD8E','1',X'7E3FE11E496DD0A0F455ACDA0CF47FB3','ann@acme.example',1795456800,1795456800,1795460400,'live',1,'{"fields":{"agent":"ann@acme.example","all_day":false,"start":"2026-11-23T18:00:00Z","end":"2026-11-23T19:00:00Z","title":"Every week","location":"","contact":["john@mail.example"],"status":"confirmed"},"version":"1:216dd7951c716cd19dd9","key":"weekly/20261123T180000Z","updated":1795176000}');
INSERT INTO "records" VALUES('5',1,X'525CB7FC1A9485E4E15A287F2C31104A','1',X'BDF555BDEB0F8F49E00CCE70D83B6281','ann@acme.example',1796050800,1796050800,1796054400,'live',1,'{"fields":{"agent":"ann@acme.example","all_day":false,"start":"2026-11-30T15:00:00Z","end":"2026-11-30T16:00:00Z","title":"Showing a2","location":"","contact":["jane@mail.example"],"status":"confirmed"},"version":"2:cac619d87ed1c795cf73","key":"a2","updated":1795262400}');
INSERT INTO "records" VALUES('6',1,X'8DD79AB8EA1134EFC1EAE30453398C8B','1',X'66F5207C440FEFC2D97C084CCE13BA96','ann@acme.example',1795705200,1795705200,1795708800,'cancelled',1,'{"fields":{"agent":"ann@acme.example","all_day":false,"start":"2026-11-26T15:00:00Z","end":"2026-11-26T16:00:00Z","title":"Showing a3","location":"","contact":["jane@mail.example"],"status":"cancelled"},"version":"2:8528293b54a053661b02","key":"a3","updated":1795262400}');
INSERT INTO "records" VALUES('7',1,X'9C266F511CA0A90E0ACFF11F86F5E17C','1',X'DF759420C4CFACC35FCE84A61558230A','bob@acme.example',1795737600,1795687200,1795874400,'live',1,'{"fields":{"agent":"bob@acme.example","all_day":true,"start":"2026-11-27","end":"2026-11-28","title":"Open house","location":"","contact":["john@mail.example"],"status":"confirmed"},"version":"1:bae63c3d1641da6533c3","key":"house","updated":1795176000}');
INSERT INTO "records" VALUES('8',1,X'F4C9E213787BFD7C627A158EDB99EB08','1',X'AB497CFB1A01DDA34F93768A7D41A658','bob@acme.example',1795878000,1795878000,1795881600,'live',1,'{"fields":{"agent":"bob@acme.example","all_day":false,"start":"2026-11-28T15:00:00Z","end":"2026-11-28T16:00:00Z","title":"Showing b2","location":"","contact":["else@mail.example"],"status":"confirmed"},"version":"2:8dd88bc92e3721a2d5a6","key":"b2","updated":1795251600}');
INSERT INTO "records" VALUES('9',1,X'D43FED8CEBCD1FE2FE184B6CA1EF2025','1',X'389F5CEBE7CCA894A8E72CE94A298885','ann@acme.example',1796666400,1796666400,1796670000,'live',1,'{"fields":{"agent":"ann@acme.example","all_day":false,"start":"2026-12-07T18:00:00Z","end":"2026-12-07T19:00:00Z","title":"Every week","location":"","contact":["john@mail.example"],"status":"confirmed"},"version":"1:87bc17c6dc54ded243d1","key":"weekly/20261207T180000Z","updated":1795176000}');
CREATE TABLE runs (
	id TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	started_at BIGINT NOT NULL, 
	finished_at BIGINT, 
	status TEXT, 
	exit_code INTEGER, 
	digest TEXT, 
	counts TEXT, 
	epoch INTEGER NOT NULL, 
	PRIMARY KEY (id, job), 
	FOREIGN KEY(job) REFERENCES jobs (id)
);
INSERT INTO "runs" VALUES('01M7WD7TG0QT5YVEH1HWCVS4XC',1,1795176000,1795176000,'applied',0,'887674dc1be779c6d2ac2178a99f46a6d8626438833121391238287c7e86d23d','{"calendars":2,"unobserved":0,"events":11,"records":3,"in_sync":1,"create":7,"update":1,"cancel":0,"delete":0,"held":0,"human":2,"conflict":0,"irrelevant":1,"quarantined":0,"copies":0,"strangers":0,"pending":0,"accepted":0,"deferred":0,"notify":0}',1);
INSERT INTO "runs" VALUES('01M7WGNP404ER6E7J9KD25KJFF',1,1795179600,1795179600,'drift',0,'b15c93b956bbf38999efd15174f57c829e4a19d8baf3892b41e0471bf60e1ec9','{"calendars":2,"unobserved":0,"events":11,"records":10,"in_sync":9,"create":0,"update":0,"cancel":0,"delete":0,"held":0,"human":2,"conflict":0,"irrelevant":1,"quarantined":0,"copies":0,"strangers":0,"pending":0,"accepted":0,"deferred":0,"notify":0}',2);
INSERT INTO "runs" VALUES('01M7YZMHG0Y4CH94ENZ7A7JAZN',1,1795262400,1795262400,'applied',0,'ca11010bc65003c687ab48d7d2699a9879d81c956f60c719614189e0f6808ae3','{"calendars":2,"unobserved":0,"events":11,"records":10,"in_sync":6,"create":1,"update":1,"cancel":1,"delete":0,"held":0,"human":3,"conflict":0,"irrelevant":1,"quarantined":0,"copies":0,"strangers":0,"pending":0,"accepted":0,"deferred":0,"notify":0}',3);
INSERT INTO "runs" VALUES('01M81J18G0SDMPR1D8NYKJJB9E',1,1795348800,1795348800,'drift',0,'b15c93b956bbf38999efd15174f57c829e4a19d8baf3892b41e0471bf60e1ec9','{"calendars":2,"unobserved":0,"events":11,"records":11,"in_sync":9,"create":0,"update":0,"cancel":0,"delete":0,"held":1,"human":2,"conflict":0,"irrelevant":1,"quarantined":0,"copies":0,"strangers":0,"pending":0,"accepted":1,"deferred":0,"notify":0}',4);
CREATE TABLE series (
	calendar INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	job INTEGER NOT NULL, 
	rule TEXT NOT NULL, 
	PRIMARY KEY (calendar, id)
)
 WITHOUT ROWID

;
CREATE INDEX journal_open ON journal (status, job);
CREATE INDEX journal_record ON journal (crm_id, at, job);
CREATE INDEX links_compare ON links (calendar, event, job, crm_id, base_digest, crm_digest);
CREATE INDEX links_meeting ON links (meeting, job);
CREATE INDEX mirror_busy ON mirror (calendar, from_at, to_at, event, job, busy, absence) WHERE busy = 1 AND absence IS NULL;
CREATE INDEX mirror_compare ON mirror (calendar, event, job, digest, elected, absence, from_at, to_at, relevant, linked);
CREATE INDEX mirror_key ON mirror ("key", job);
CREATE INDEX mirror_meeting ON mirror (meeting, job, elected);
CREATE INDEX mirror_unlinked ON mirror (calendar, event, job, from_at, to_at) WHERE linked = 0 AND relevant = 1;
CREATE INDEX records_agent ON records (agent, start_at, crm_id, job, presence);
CREATE INDEX records_chunk ON records (chunk, job);
CREATE INDEX records_compare ON records (crm_id, job, digest, presence, linked, from_at, to_at);
CREATE INDEX records_key ON records ("key", job);
CREATE INDEX records_unlinked ON records (crm_id, job, from_at, to_at) WHERE linked = 0;
CREATE INDEX approvals_digest ON approvals (digest, job);
CREATE INDEX journal_time ON journal (at, job, status);
CREATE INDEX journal_run ON journal (run, job);
CREATE INDEX journal_key ON journal ("key", at, job);
COMMIT;
