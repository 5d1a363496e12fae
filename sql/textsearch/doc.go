// Package textsearch makes documents and queries of text, matches and ranks them, with PostgreSQL's answers.
//
// A text is cut into tokens (Tokens) as by PostgreSQL's default parser, and a configuration (Config) makes of each token's
// text a lexeme: "simple" folds it to lower case, "english" also leaves stop words out and cuts endings off (Stem). The
// tree of a query and the lexemes of a document are types.TSTree and types.TSDocument; Match tells whether one fits the
// other, Rank and RankCover how well. Everything here is pure.
package textsearch
